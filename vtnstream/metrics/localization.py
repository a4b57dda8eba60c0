"""Mean average precision of segments at thresholds of temporal IoU, as ActivityNet defines it
(``eval_detection.py`` of its repository).

For each class, the predictions of all videos are visited in order of score. A prediction is
assigned to the unassigned true segment of its video with the highest tIoU that reaches the
threshold; without one it is a false positive, also in a video without true segments. Precision
is made monotone and integrated over every step of recall (all points, as VOC does since 2011).
The mean is taken over the true classes without ``background``. All values are fractions between
0 and 1.

The numbers equal those of that script, including its details: thresholds from ``linspace`` (that
of .9 is slightly below 0.9), equal scores in the order of a reversed ``argsort`` (which differs
between processors), and duplicate and zero-length true segments, which all count.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vtnstream.labels import BACKGROUND
from vtnstream.metrics.segmentation import Labelled

ACTIVITYNET_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""tIoU .5:.05:.95; ActivityNet's score is the mean of the mAP over them."""

THUMOS_THRESHOLDS = tuple(np.linspace(0.3, 0.7, 5).tolist())


class ScoredSpan(Labelled, Protocol):
    """A predicted segment with a score, such as :class:`vtnstream.types.Segment`."""

    @property
    def score(self) -> float: ...


@dataclass(frozen=True, slots=True)
class LocalizationScores:
    """Average precisions, as fractions.

    Attributes:
        average_precision: label -> threshold -> AP, for the true labels.
        mean: threshold -> mean over those labels.
        average: mean over all thresholds.
    """

    average_precision: Mapping[Hashable, Mapping[float, float]]
    mean: Mapping[float, float]
    average: float


def localization_scores(
    videos: Sequence[tuple[Sequence[ScoredSpan], Sequence[Labelled]]],
    *,
    thresholds: Sequence[float] = ACTIVITYNET_THRESHOLDS,
) -> LocalizationScores:
    """Return the mAP over videos.

    Args:
        videos: the predicted and the true segments of each video, either of which may be empty.
            Their order should be that of the prediction file, because it decides between equal
            scores.
        thresholds: tIoU thresholds.

    Raises:
        ValueError: there is no true segment or no threshold, or a score is NaN.
    """
    if not thresholds:
        raise ValueError("no tIoU threshold")
    truths = [[s for s in truth if s.label != BACKGROUND] for _, truth in videos]
    labels = sorted({s.label for truth in truths for s in truth}, key=str)
    if not labels:
        raise ValueError("no true segment to find")
    found: dict[Hashable, dict[float, float]] = {}
    for label in labels:
        predicted = [
            (segment.score, number, segment)
            for number, (segments, _) in enumerate(videos)
            for segment in segments
            if segment.label == label
        ]
        if any(score != score for score, _, _ in predicted):
            raise ValueError(f"scores of {label!r} are not all numbers")
        order = np.array([score for score, _, _ in predicted], np.float64).argsort()[::-1]
        predicted = [predicted[place] for place in order]
        wanted = [[s for s in truth if s.label == label] for truth in truths]
        values = _average_precisions([p[1:] for p in predicted], wanted, thresholds)
        found[label] = dict(zip(thresholds, values, strict=True))
    mean = {t: float(np.mean([found[label][t] for label in labels])) for t in thresholds}
    return LocalizationScores(found, mean, float(np.mean(list(mean.values()))))


def _average_precisions(
    predicted: Sequence[tuple[int, Labelled]],
    wanted: Sequence[Sequence[Labelled]],
    thresholds: Sequence[float],
) -> list[float]:
    """Return the AP of one class at each threshold.

    Args:
        predicted: (index of the video, segment) in order of score.
        wanted: the true segments of each video.
        thresholds: tIoU thresholds.
    """
    count = sum(map(len, wanted))
    if not predicted:
        return [0.0] * len(thresholds)
    starts = [np.array([s.start for s in spans], np.float64) for spans in wanted]
    ends = [np.array([s.end for s in spans], np.float64) for spans in wanted]
    hits = np.zeros((len(thresholds), len(predicted)), bool)
    taken = [np.zeros((len(thresholds), len(spans)), bool) for spans in wanted]
    for place, (video, span) in enumerate(predicted):
        if not len(starts[video]):
            continue
        overlap = temporal_iou(span.start, span.end, starts[video], ends[video])
        order = overlap.argsort()[::-1]
        for row, threshold in enumerate(thresholds):
            for target in order:
                if overlap[target] < threshold:
                    break
                if not taken[video][row, target]:
                    taken[video][row, target] = hits[row, place] = True
                    break
    return [_integrated(row, count) for row in hits]


def temporal_iou(
    start: float, end: float, starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the (N,) tIoU of one span with each of N spans; NaN between two spans of zero length.

    Args:
        start: start of the span.
        end: its end.
        starts: (N,) starts.
        ends: (N,) ends.
    """
    shared = np.clip(np.minimum(end, ends) - np.maximum(start, starts), 0, None)
    union = (ends - starts) + (end - start) - shared
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(shared / union, np.float64)


def _integrated(hits: NDArray[np.bool_], count: int) -> float:
    """Return the area under the monotone precision-recall curve.

    Args:
        hits: (P,) whether each prediction, in order of score, is a true positive.
        count: number of true segments.
    """
    right = np.cumsum(hits)
    precision = np.concatenate([[0.0], right / np.arange(1, len(hits) + 1), [0.0]])
    recall = np.concatenate([[0.0], right / count, [1.0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.flatnonzero(recall[1:] != recall[:-1])
    return float(((recall[steps + 1] - recall[steps]) * precision[steps + 1]).sum())
