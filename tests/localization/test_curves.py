"""Curves over time, compared with integrals on a fine grid."""

from __future__ import annotations

import numpy as np
import pytest

from vtnstream.localization.curves import (
    MAX_SCORE_CURVES,
    NUM_SCORE_PARTS,
    relative_weights,
    score_curves,
    time_curve,
)
from vtnstream.types import ScoreTimeline, Segment, TokenTimes


def tokens(starts: list[float], ends: list[float]) -> TokenTimes:
    count = len(starts)
    return TokenTimes(
        np.arange(count), np.arange(count), np.array(starts, float), np.array(ends, float)
    )


def test_parts_hold_the_mean_over_covered_time() -> None:
    times = tokens([0, 1, 4], [1, 2, 8])  # nothing between 2 and 4
    curve = time_curve(times, np.array([1, 3, 5], np.float32), num_parts=2)
    # 0 to 4: one second of 1, one of 3; 4 to 8: 5.
    assert curve.values == pytest.approx((2.0, 5.0))
    assert (curve.start, curve.end) == (0.0, 8.0)


def test_a_part_without_tokens_is_none() -> None:
    times = tokens([0, 9], [1, 10])
    curve = time_curve(times, np.array([1, 2], np.float32), num_parts=2)
    assert curve.values == pytest.approx((1.0, 2.0))
    times = tokens([0, 1, 2, 9], [1, 2, 3, 10])
    curve = time_curve(times, np.array([1, 1, 1, 2], np.float32), num_parts=4)
    assert curve.values == (1.0, 1.0, None, 2.0)


def test_curves_equal_integrals_on_a_fine_grid() -> None:
    random = np.random.default_rng(0)
    lengths = random.uniform(0.2, 2, 400)
    ends = np.cumsum(lengths)
    values = random.normal(size=400).astype(np.float32)
    curve = time_curve(tokens((ends - lengths).tolist(), ends.tolist()), values, num_parts=37)
    fine = np.linspace(0, ends[-1], 37 * 4000, endpoint=False) + ends[-1] / 37 / 8000
    sampled = values[np.searchsorted(ends, fine, side="right")].reshape(37, 4000).mean(1)
    np.testing.assert_allclose(curve.values, sampled, atol=5e-3)


def test_weights_are_relative_to_uniform_attention() -> None:
    np.testing.assert_allclose(relative_weights(np.full(7, 0.1, np.float32)), 1, rtol=1e-6)
    sharp = relative_weights(np.array([0.3, 0, 0], np.float32))
    np.testing.assert_allclose(sharp, [3, 0, 0], rtol=1e-6)


def timeline(scores: np.ndarray, labels: tuple[str, ...], ends: list[float]) -> ScoreTimeline:
    return ScoreTimeline(scores.astype(np.float32), tokens([0.0, *ends[:-1]], ends), labels)


def test_score_curves_are_means_between_extremes() -> None:
    count = 3 * NUM_SCORE_PARTS
    scores = np.random.default_rng(0).random((count, 2))
    (first, second) = score_curves(
        timeline(scores, ("a", "b"), [t + 1.0 for t in range(count)]), ()
    )
    assert (first.label, second.label, first.end) == ("a", "b", count)
    parts = scores[:, 0].astype(np.float32).reshape(-1, 3)
    for stored, exact in (
        (first.values, parts.mean(1)),
        (first.low, parts.min(1)),
        (first.high, parts.max(1)),
    ):
        np.testing.assert_allclose(np.array(stored, float), exact, atol=1e-4)


def test_short_timelines_are_stored_exactly() -> None:
    (curve,) = score_curves(timeline(np.array([[0.25], [0.5]]), ("a",), [1.0, 2.0]), ())
    assert (curve.values, curve.low, curve.high) == ((0.25, 0.5), None, None)


def test_curves_are_bounded_and_prefer_labels_with_segments() -> None:
    labels = tuple(f"label {k}" for k in range(400))
    scores = np.random.default_rng(0).random((1000, 400)) / 2
    scores[:, 7] = 0.9
    found = score_curves(
        timeline(scores, labels, [t + 1.0 for t in range(1000)]),
        [Segment(0, 9, "label 399", 0.4), Segment(0, 9, "label 3", 0.4, "sliding")],
    )
    names = [curve.label for curve in found]
    assert len(found) == MAX_SCORE_CURVES
    assert {"label 7", "label 399"} < set(names)
    assert names == sorted(names, key=labels.index)
    assert max(len(curve.values) for curve in found) == NUM_SCORE_PARTS


def test_gaps_have_no_score() -> None:
    times = tokens([0, 1, 2, 9], [1, 2, 3, 10])
    scores = np.ones((4, 1), np.float32)
    (curve,) = score_curves(ScoreTimeline(scores, times, ("a",)), ())
    assert curve.values == (1.0, 1.0, None, 1.0)
