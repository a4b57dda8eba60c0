"""Metrics of surgical phases, compared with hand-computed values, with undefined cases."""

from __future__ import annotations

import math

import pytest

from vtnstream.metrics.phases import phase_scores


def test_phase_scores_equal_hand_computed_values() -> None:
    scores = phase_scores([("aabb", "aaab"), ("aaaa", "aaaa")])
    assert scores.accuracy.mean == pytest.approx((75 + 100) / 2)
    precision, recall, jaccard = scores.per_phase["a"]
    assert (precision.mean, recall.mean, jaccard.mean) == pytest.approx(
        (100, (200 / 3 + 100) / 2, (200 / 3 + 100) / 2)
    )
    precision, recall, jaccard = scores.per_phase["b"]  # in the first video only
    assert (precision.mean, recall.mean, jaccard.mean) == pytest.approx((50, 100, 50))
    assert scores.precision.mean == pytest.approx(75)
    assert scores.jaccard.mean == pytest.approx(((200 / 3 + 100) / 2 + 50) / 2)
    assert scores.accuracy.deviation == pytest.approx(12.5)
    assert "strict" in scores.protocol


def test_the_precision_of_a_phase_never_predicted_is_left_out() -> None:
    scores = phase_scores([("aa", "ab")])
    precision, recall, jaccard = scores.per_phase["b"]
    assert math.isnan(precision.mean)
    assert (recall.mean, jaccard.mean) == (0, 0)
    assert scores.precision.mean == 50  # of phase a alone


def test_a_phase_that_is_only_predicted_is_left_out() -> None:
    assert list(phase_scores([("ac", "aa")]).per_phase) == ["a"]


@pytest.mark.parametrize("videos", [[], [("a", "ab")], [("", "")]])
def test_missing_frames_are_an_error(videos: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError):
        phase_scores(videos)
