"""mAP over tIoU, compared with hand-computed values and a slower independent implementation."""

from __future__ import annotations

import numpy as np
import pytest

from vtnstream.metrics.localization import (
    ACTIVITYNET_THRESHOLDS,
    localization_scores,
    temporal_iou,
)
from vtnstream.types import Segment


def segment(start: float, end: float, score: float = 1.0, label: str = "a") -> Segment:
    return Segment(start, end, label, score)


def test_map_equals_hand_computed_values() -> None:
    """One hit, one miss between two hits: precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1."""
    truth = [segment(0, 10), segment(20, 30)]
    predicted = [segment(0, 10, 0.9), segment(50, 60, 0.8), segment(20, 30, 0.7)]
    scores = localization_scores([(predicted, truth)], thresholds=[0.5])
    assert scores.average == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_second_hit_is_assigned_to_the_next_free_segment() -> None:
    truth = [segment(0, 10), segment(4, 14)]
    predicted = [segment(0, 10, 0.9), segment(1, 11, 0.8)]  # both like the first best
    assert localization_scores([(predicted, truth)], thresholds=[0.5]).average == 1.0
    doubled = [segment(0, 10, 0.9), segment(0, 10, 0.8)]
    only = localization_scores([(doubled, truth[:1])], thresholds=[0.5])
    assert only.average == 1.0  # the false positive comes after full recall
    swapped = localization_scores([(doubled, [segment(20, 30), truth[0]])], thresholds=[0.5])
    assert swapped.average == 0.5


def test_only_true_classes_count() -> None:
    videos = [([segment(0, 1, label="b"), segment(0, 1)], [segment(0, 1)])]
    scores = localization_scores(videos, thresholds=[0.5])
    assert list(scores.average_precision) == ["a"]
    assert scores.average == 1.0
    assert localization_scores([([], [segment(0, 1)])], thresholds=[0.5]).average == 0.0


def test_duplicate_and_zero_length_segments_count() -> None:
    truth = [segment(0, 1), segment(0, 1), segment(5, 5), segment(7, 8)]
    found = localization_scores([([segment(0, 1)], truth)], thresholds=[0.5])
    assert found.average == pytest.approx(0.25)


def test_background_is_no_class() -> None:
    truth = [segment(0, 1), segment(1, 9, label="background")]
    have = [segment(0, 1), segment(1, 9, label="background")]
    found = localization_scores([(have, truth)], thresholds=[0.5])
    assert list(found.average_precision) == ["a"] and found.average == 1.0
    with pytest.raises(ValueError, match="no true segment"):
        localization_scores([(have, truth[1:])])


def test_predictions_in_videos_without_segments_are_false_positives() -> None:
    videos = [([segment(0, 1, 0.5)], [segment(0, 1)]), ([segment(3, 9, 0.9)], [])]
    assert localization_scores(videos, thresholds=[0.5]).average == 0.5


def test_a_prediction_matches_no_segment_of_another_video() -> None:
    videos = [([segment(0, 1)], []), ([], [segment(0, 1)])]
    assert localization_scores(videos, thresholds=[0.5]).average == 0.0


@pytest.mark.parametrize("videos", [[], [([segment(0, 1)], [])]])
def test_no_true_segments_is_an_error(videos: list[object]) -> None:
    with pytest.raises(ValueError, match="no true segment"):
        localization_scores(videos)  # type: ignore[arg-type]


def slow_average_precision(
    videos: list[tuple[list[Segment], list[Segment]]], label: str, threshold: float
) -> float:
    """Compute AP from its definition: the best precision at each recall or above."""
    queue = [
        (s.score, v, s) for v, (have, _) in enumerate(videos) for s in have if s.label == label
    ]
    queue = [queue[i] for i in np.array([score for score, _, _ in queue]).argsort()[::-1]]
    free = {
        (v, i) for v, (_, want) in enumerate(videos) for i, s in enumerate(want) if s.label == label
    }
    total = len(free)
    outcomes = []
    for _, v, s in queue:
        best = None
        for key in free:
            if key[0] != v:
                continue
            t = videos[v][1][key[1]]
            shared = max(0.0, min(s.end, t.end) - max(s.start, t.start))
            overlap = shared / (s.end - s.start + t.end - t.start - shared)
            if overlap >= threshold and (best is None or overlap > best[0]):
                best = (overlap, key)
        outcomes.append(best is not None)
        if best is not None:
            free.discard(best[1])
    area = 0.0
    for level in range(1, total + 1):
        precisions = [
            sum(outcomes[: n + 1]) / (n + 1)
            for n in range(len(outcomes))
            if sum(outcomes[: n + 1]) >= level
        ]
        area += max(precisions, default=0.0) / total
    return area


@pytest.mark.parametrize("seed", range(6))
def test_random_sets_equal_the_definition(seed: int) -> None:
    random = np.random.default_rng(seed)

    def some(count: int) -> list[Segment]:
        starts, lengths = random.uniform(0, 60, count), random.uniform(1, 15, count)
        labels = random.choice(list("abc"), count)
        scores = random.permutation(count) / count
        return [
            Segment(float(a), float(a + n), str(label), float(score))
            for a, n, label, score in zip(starts, lengths, labels, scores, strict=True)
        ]

    videos = [(some(12), some(5)) for _ in range(7)]
    scores = localization_scores(videos)
    for label, row in scores.average_precision.items():
        for threshold in ACTIVITYNET_THRESHOLDS:
            expected = slow_average_precision(videos, str(label), threshold)
            assert row[threshold] == pytest.approx(expected, abs=1e-12)
    assert scores.average == pytest.approx(np.mean(list(scores.mean.values())))


def test_temporal_iou_of_one_span_with_several() -> None:
    got = temporal_iou(0, 10, np.array([0.0, 5, 10, 2]), np.array([10.0, 15, 12, 4]))
    np.testing.assert_allclose(got, [1, 1 / 3, 0, 0.2])
