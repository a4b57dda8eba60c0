"""Spans whose label would teach most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtnstream.localization.informative import (
    Candidate,
    candidate_spans,
    choose_spans,
    uncertainty,
)
from vtnstream.types import ScoreTimeline, TokenTimes


def timeline(scores: list[list[float]], indices: list[int]) -> ScoreTimeline:
    places = np.array(indices, np.int64)
    times = TokenTimes(places, places, places / 2, (places + 1) / 2)
    return ScoreTimeline(np.array(scores, np.float32), times, ("a", "b"))


def candidate(path: str, start: float, doubt: float, *vector: float) -> Candidate:
    return Candidate(Path(path), start, start + 2, "a", 0.5, doubt, np.array(vector, np.float32))


def test_spans_cover_a_video_and_cross_no_gap() -> None:
    indices = [*range(10), *range(20, 23)]
    sure, torn = [1.0, 0.0], [0.5, 0.5]
    scores = [sure] * 6 + [torn] * 4 + [[0.2, 0.8]] * 3
    features = np.arange(26, dtype=np.float32).reshape(13, 2)
    found = candidate_spans(Path("v"), timeline(scores, indices), features, 2.0)
    assert [(one.start, one.end) for one in found] == [
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (10, 11.5),
    ]
    assert found[0].uncertainty == pytest.approx(0, abs=1e-3)
    assert found[3].uncertainty == pytest.approx(1, abs=1e-3)
    assert (found[4].guess, found[4].score) == ("b", pytest.approx(0.8))
    assert found[4].vector.tolist() == features[10:].mean(0).tolist()


def test_uncertainty_is_a_share_of_the_highest() -> None:
    rows = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], np.float32)
    assert uncertainty(rows, False) == pytest.approx([0, 1, 0.5], abs=1e-4)
    assert uncertainty(np.array([[1, 0], [0.5, 0.5]], np.float32), True) == pytest.approx(
        [0, 1], abs=1e-4
    )


def test_the_most_uncertain_comes_first_and_twins_last() -> None:
    spans = [
        candidate("v", 0, 0.9, 0, 0),
        candidate("v", 1, 0.95, 0, 0),  # overlaps the one before
        candidate("w", 0, 0.8, 0, 0),  # looks like it
        candidate("x", 0, 0.5, 9, 9),
        candidate("y", 0, 0.1, -9, 9),
    ]
    chosen = choose_spans(spans, 10)
    assert [str(one.path) for one in chosen] == ["v", "x", "y", "w"]
    assert (chosen[0].start, chosen[0].rank) == (1, 1)
    assert chosen[0].novelty == 1 and chosen[-1].novelty == 0
    assert len(choose_spans(spans, 2)) == 2
    assert choose_spans([], 3) == []
