"""Non-maximum suppression of segments in time, for each class separately."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from vtnstream.registry import lookup
from vtnstream.types import Segment

Suppressor = Callable[
    [NDArray[np.float64], NDArray[np.float64], float],
    tuple[NDArray[np.int64], NDArray[np.float64]],
]
"""Function ``suppress(spans (n, 2), scores (n,), threshold)`` that returns kept positions, best
first, and their scores."""


def suppress(
    segments: Iterable[Segment], method: str, threshold: float, *, min_score: float = 0.0
) -> list[Segment]:
    """Suppress segments that overlap a better one of the same label and track.

    Args:
        segments: in any order.
        method: ``none``, ``hard`` or ``soft``.
        threshold: tIoU above which two segments overlap.
        min_score: segments whose reduced score is below this are dropped.

    Returns:
        The remaining segments, sorted by start, end and label; ``soft`` reduces their scores.

    Raises:
        UsageError: the method is unknown.
    """
    chosen = None if method == "none" else lookup(_SUPPRESSORS, method, "nms")
    groups: dict[tuple[str | None, str], list[Segment]] = defaultdict(list)
    for segment in segments:
        groups[segment.track, segment.label].append(segment)
    kept: list[Segment] = []
    for group in groups.values():
        if chosen is None:
            kept += group
            continue
        spans = np.array([(s.start, s.end) for s in group])
        places, scores = chosen(spans, np.array([s.score for s in group]), threshold)
        for place, score in zip(places.tolist(), scores.tolist(), strict=True):
            s = group[place]
            if score >= min_score or score == s.score:
                kept.append(Segment(s.start, s.end, s.label, score, s.track))
    return sorted(kept, key=lambda s: (s.start, s.end, s.label, s.track or ""))


def _hard_nms(
    spans: NDArray[np.float64], scores: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keep the best span, drop all that overlap it by more than ``threshold`` tIoU, and repeat with
    the rest.

    Of equal scores the first wins.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order):
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[_overlaps(spans[best], spans[order]) <= threshold]
    places = np.array(kept, np.int64)
    return places, scores[places]


def _soft_nms(
    spans: NDArray[np.float64], scores: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keep all spans, but multiply the score of each that overlaps a better one by more than
    ``threshold`` by ``1 - tIoU`` (linear soft-NMS: Bodla et al., ICCV 2017)."""
    lowered = scores.astype(np.float64, copy=True)
    left = np.arange(len(scores))
    kept: list[int] = []
    while len(left):
        best = int(lowered[left].argmax())
        place, left = int(left[best]), np.delete(left, best)
        kept.append(place)
        overlaps = _overlaps(spans[place], spans[left])
        lowered[left] *= np.where(overlaps > threshold, 1 - overlaps, 1.0)
    places = np.array(kept, np.int64)
    return places, lowered[places]


_SUPPRESSORS: Mapping[str, Suppressor] = {"hard": _hard_nms, "soft": _soft_nms}


def _overlaps(span: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n,) tIoU of one span with n others; 0 for empty spans."""
    starts, ends = others[:, 0], others[:, 1]
    shared = np.maximum(0.0, np.minimum(span[1], ends) - np.maximum(span[0], starts))
    union = (span[1] - span[0]) + (ends - starts) - shared
    overlaps: NDArray[np.float64] = np.zeros_like(shared)
    np.divide(shared, union, out=overlaps, where=union > 0)
    return overlaps
