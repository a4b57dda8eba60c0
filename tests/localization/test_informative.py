"""Spans whose label would teach most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtnstream.localization.informative import (
    Candidate,
    CandidatePool,
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
    assert [one.rank for one in chosen] == [1, 2, 3, 4]
    assert [one.novelty for one in chosen] == pytest.approx([1, 1, 1, 0], abs=0.1)
    assert len(choose_spans(spans, 2)) == 2
    assert choose_spans([], 3) == []


def test_a_span_that_many_uncertain_ones_resemble_is_before_a_single_one() -> None:
    """An outlier is the most uncertain span, but its label would teach about itself only."""
    alike = [candidate(f"c{n}", 0, 0.6, 5 + n / 10, 5) for n in range(6)]
    sure = [candidate(f"s{n}", 0, 0.01, -5, n) for n in range(6)]
    outlier = candidate("outlier", 0, 0.9, 5, -30)
    chosen = choose_spans([outlier, *sure, *alike], 2)
    assert str(chosen[0].path) in ("c2", "c3"), "the middle of the spans that are alike"
    assert str(chosen[1].path) == "outlier"


def test_a_pool_keeps_a_fair_and_repeatable_draw_of_the_spans() -> None:
    def drawn() -> list[float]:
        pool = CandidatePool(most=100)
        for video in range(20):
            pool.add(candidate(str(video), 100 * video + n, 0.5, 0) for n in range(100))
        return [one.start for one in pool.kept]

    kept = drawn()
    assert kept == drawn()
    assert len(set(kept)) == 100
    assert 700 < np.mean(kept) < 1300, "early and late spans alike"
    few = CandidatePool(most=100)
    few.add(candidate("v", n, 0.5, 0) for n in range(7))
    assert [one.start for one in few.kept] == list(range(7))


def test_thousands_of_spans_are_compared_in_limited_memory() -> None:
    rng = np.random.default_rng(1)
    pool = CandidatePool()
    pool.add(candidate(str(n), 0, rng.random(), *rng.random(8)) for n in range(5_000))
    chosen = choose_spans(pool.kept, 3)
    assert len(pool.kept) == 4_000 and len({one.path for one in chosen}) == 3
