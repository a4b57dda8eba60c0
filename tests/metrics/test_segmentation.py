from __future__ import annotations

import math

import numpy as np
import pytest

from vtnstream.metrics.segmentation import (
    FrameSpan,
    SegmentCounts,
    edit_score,
    frame_accuracy,
    frame_spans,
    match_segments,
    segmentation_scores,
)
from vtnstream.types import Segment

_NAMES = {"-": "background"}


def _frames(text: str) -> list[str]:
    return [_NAMES.get(letter, letter) for letter in text]


def _spans(text: str) -> list[FrameSpan]:
    return frame_spans(_frames(text))


def test_frame_spans_leave_background_out() -> None:
    assert _spans("--aab-bb") == [FrameSpan(2, 4, "a"), FrameSpan(4, 5, "b"), FrameSpan(6, 8, "b")]
    assert frame_spans([]) == []
    assert frame_spans(_frames("-a"), ignore=()) == [
        FrameSpan(0, 1, "background"),
        FrameSpan(1, 2, "a"),
    ]
    assert frame_spans(np.array([3, 3, 0]), ignore=(0,)) == [FrameSpan(0, 2, 3)]


def test_frame_accuracy_counts_background() -> None:
    assert frame_accuracy(_frames("-aab"), _frames("-abb")) == 75
    with pytest.raises(ValueError, match="3 predicted labels for 4 frames"):
        frame_accuracy(_frames("aaa"), _frames("aaaa"))
    with pytest.raises(ValueError, match="no frames"):
        frame_accuracy([], [])


@pytest.mark.parametrize(
    ("predicted", "truth", "score"),
    [
        ("aabb", "abbb", 100),  # order alone counts
        ("abab", "aabb", 50),  # abab against ab: 2 deletions of 4
        ("abc", "acb", 100 / 3),  # 2 substitutions of 3
        ("a", "bbcc", 0),
        ("-a-b-", "ab", 100),  # background does not count
        ("--", "--", math.nan),  # nothing to find, nothing found: undefined, as in the field
        ("a", "-", 0),
        ("-", "ab", 0),
    ],
)
def test_edit_score_equals_hand_computed_values(predicted: str, truth: str, score: float) -> None:
    assert edit_score(_spans(predicted), _spans(truth)) == pytest.approx(score, nan_ok=True)


@pytest.mark.parametrize(
    ("predicted", "truth", "threshold", "counts"),
    [
        # a: 2 of 4 frames shared, hull 4: IoU .5; b: 4 of 6 frames: IoU .67
        ("aabbbbbb", "aaaabbbb", 0.50, (2, 0, 0)),
        ("aabbbbbb", "aaaabbbb", 0.51, (1, 1, 1)),
        # two pieces of one true segment, IoU 4/8 and 3/8: the second hit is a false positive
        ("aaaabaaa--", "aaaaaaaa--", 0.25, (1, 2, 0)),
        # the right place, the wrong label
        ("bbbb", "aaaa", 0.10, (0, 1, 1)),
        # the right label, another place
        ("aa--", "--aa", 0.10, (0, 1, 1)),
        # no true segment: MS-TCN's own code fails here
        ("ab", "--", 0.10, (0, 2, 0)),
        ("--", "ab", 0.10, (0, 0, 2)),
        ("--", "--", 0.10, (0, 0, 0)),
    ],
)
def test_matches_equal_hand_computed_counts(
    predicted: str, truth: str, threshold: float, counts: tuple[int, int, int]
) -> None:
    assert match_segments(_spans(predicted), _spans(truth), threshold) == SegmentCounts(*counts)


def test_a_prediction_is_compared_with_its_best_segment_only() -> None:
    # (0, 6): 6/10 with the first. (6, 11): 4/11 = .36 with the first, 1/6 = .17 with the
    # second, so it is a false positive though the second is free and reaches .1.
    truth = [FrameSpan(0, 10, "a"), FrameSpan(10, 12, "a")]
    predicted = [FrameSpan(0, 6, "a"), FrameSpan(6, 11, "a")]
    assert match_segments(predicted, truth, 0.1) == SegmentCounts(1, 1, 1)


def test_segments_in_seconds_are_matched() -> None:
    predicted = [Segment(0.0, 1.5, "a", 0.9)]
    truth = [Segment(0.5, 2.0, "a", 1.0)]  # 1.0 of 2.0 seconds
    assert match_segments(predicted, truth, 0.5) == SegmentCounts(1, 0, 0)
    assert match_segments(predicted, truth, 0.6) == SegmentCounts(0, 1, 1)


def test_f1_equals_hand_computed_values() -> None:
    assert SegmentCounts(2, 1, 0).f1 == pytest.approx(80)  # P 2/3, R 1
    assert SegmentCounts(0, 3, 0).f1 == 0
    assert SegmentCounts(0, 0, 3).f1 == 0
    assert SegmentCounts().f1 == 0


def test_scores_over_videos_equal_hand_computed_values() -> None:
    scores = segmentation_scores(
        [
            (_frames("aaaabbbbbb"), _frames("aaaaaabbbb")),  # 8 of 10; IoU 4/6 and 4/6; edit 100
            (_frames("cc"), _frames("--")),  # 0 of 2; a false positive; edit 0
        ]
    )
    assert scores.frame_accuracy == pytest.approx(100 * 8 / 12)
    assert scores.edit == 50  # mean over videos
    # counts over videos: 2 hits, 1 false positive, no miss
    assert scores.f1 == {0.10: pytest.approx(80), 0.25: pytest.approx(80), 0.50: pytest.approx(80)}
    with pytest.raises(ValueError, match="no frames"):
        segmentation_scores([])


def _ms_tcn_f_score(recognized: list[str], truth: list[str], overlap: float) -> SegmentCounts:
    """Count matches as MS-TCN does, with plain loops."""
    have, want = frame_spans(recognized), frame_spans(truth)
    hits, true_positives, false_positives = [False] * len(want), 0, 0
    for p in have:
        ious = []
        for g in want:
            shared = min(p.end, g.end) - max(p.start, g.start)
            union = max(p.end, g.end) - min(p.start, g.start)
            ious.append(shared / union if p.label == g.label else 0.0)
        best = ious.index(max(ious))
        if ious[best] >= overlap and not hits[best]:
            true_positives, hits[best] = true_positives + 1, True
        else:
            false_positives += 1
    return SegmentCounts(true_positives, false_positives, len(want) - sum(hits))


@pytest.mark.parametrize("threshold", [0.1, 0.25, 0.5])
def test_matches_equal_a_plain_loop_implementation(threshold: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(100):
        truth = [c for c in rng.choice(list("abc"), 6) for _ in range(rng.integers(1, 9))]
        noise = rng.random(len(truth)) < 0.15
        predicted = [
            str(rng.choice([*"abc", "background"])) if wrong else label
            for label, wrong in zip(truth, noise, strict=True)
        ]
        got = match_segments(frame_spans(predicted), frame_spans(truth), threshold)
        assert got == _ms_tcn_f_score(predicted, truth, threshold)
