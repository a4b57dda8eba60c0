"""Scores of cuts and transitions, on cases computed by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks.edit_model import read_truth
from benchmarks.edit_scores import Events, Scores, events_of
from vtnstream.types import Segment


def _segments(*parts: tuple[int, int, str]) -> list[Segment]:
    return [Segment(a / 25, b / 25, label, 1.0) for a, b, label in parts]


def test_events_of_a_truth_and_of_a_report_agree() -> None:
    truth = _segments(
        (0, 9, "shot"), (9, 10, "cut"), (10, 20, "shot"), (20, 26, "fade"), (26, 30, "black"),
        (30, 36, "fade"), (36, 50, "shot"), (50, 55, "black"), (55, 56, "cut"), (56, 70, "shot"),
        (70, 75, "dissolve"), (75, 80, "wipe"), (80, 90, "shot"),
    )  # fmt: skip
    report = _segments(
        (0, 9, "shot"), (9, 20, "shot"), (20, 26, "fade"), (26, 30, "black"), (30, 36, "fade"),
        (36, 50, "shot"), (50, 55, "black"), (55, 70, "shot"), (70, 80, "dissolve"),
        (80, 90, "shot"),
    )  # fmt: skip
    expected = Events((9, 55), ((20, 26), (30, 36), (70, 80)), (50,))
    assert events_of(truth, 25) == expected
    assert events_of(report, 25) == expected


def test_no_cut_across_a_gap() -> None:
    assert events_of(_segments((0, 9, "shot"), (12, 20, "shot")), 25) == Events((), ())


def test_strict_and_lenient() -> None:
    truth = Events((10, 50), ((70, 90),), (120,))
    scores = Scores()
    # One frame off, missed, inside the dissolve, at a change nobody is asked about, false.
    scores.add(Events((11, 80, 121, 200), ((75, 85), (150, 160))), truth)
    assert (scores.strict.hits, scores.strict.found, scores.strict.wanted) == (1, 3, 2)
    assert (scores.lenient.hits, scores.lenient.found, scores.lenient.wanted) == (1, 2, 2)
    assert scores.strict.f1 == pytest.approx(0.4)
    assert (scores.gradual.hits, scores.gradual.found, scores.gradual.wanted) == (1, 2, 1)
    assert scores.gradual_half.hits == 1
    assert scores.false_events == 0


def test_one_to_one() -> None:
    scores = Scores()
    scores.add(Events((10, 11), ((0, 5), (5, 9))), Events((10,), ((0, 9),)))
    assert (scores.strict.hits, scores.strict.found) == (1, 2)
    assert (scores.gradual.hits, scores.gradual.found) == (1, 2)
    assert scores.gradual_half.hits == 1


def test_single_frames_find_transitions_that_no_cut_needs() -> None:
    truth = Events((10,), ((20, 30), (60, 70)))
    scores = Scores()
    scores.add_points([10, 25, 29, 40], truth)
    assert (scores.strict.hits, scores.strict.found) == (1, 4)
    assert (scores.lenient.hits, scores.lenient.found) == (1, 2)
    assert (scores.gradual.hits, scores.gradual.found, scores.gradual.wanted) == (1, 3, 2)


def test_videos_without_edits_count_false_events() -> None:
    scores = Scores()
    scores.add(Events((3,), ((5, 9),)), Events((), ()))
    scores.add_points([7], Events((), ()))
    assert scores.false_events == 3
    assert Scores().strict.f1 == 1.0


def test_truth_is_read_in_order(tmp_path: Path) -> None:
    with (tmp_path / "segments.csv").open("w", newline="") as file:
        rows = [("path", "start", "end", "label"), ("b.mp4", 0, 1, "shot")]
        csv.writer(file).writerows([*rows, ("a.mp4", 0, 2, "shot"), ("b.mp4", 1, 2, "black")])
    videos = read_truth(tmp_path / "segments.csv")
    assert [path.name for path, _ in videos] == ["b.mp4", "a.mp4"]
    assert [s.label for s in videos[0][1]] == ["shot", "black"]
