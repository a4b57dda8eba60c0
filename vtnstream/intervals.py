"""Half-open spans of time ``[start, end)`` in seconds, and arithmetic on lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A half-open span ``[start, end)`` in seconds."""

    start: float
    end: float

    @property
    def length(self) -> float:
        return max(0.0, self.end - self.start)


def intersection(a: Interval, b: Interval) -> float:
    """Seconds that two spans share."""
    return max(0.0, min(a.end, b.end) - max(a.start, b.start))


def temporal_iou(a: Interval, b: Interval) -> float:
    """Intersection over union of two spans in time (tIoU), 0 for empty spans."""
    shared = intersection(a, b)
    union = a.length + b.length - shared
    return shared / union if union > 0 else 0.0


def merge(spans: Iterable[Interval], max_gap: float = 0.0) -> list[Interval]:
    """Sorted union of spans; neighbours at most ``max_gap`` seconds apart become one."""
    merged: list[Interval] = []
    for span in sorted(spans):
        if merged and span.start - merged[-1].end <= max_gap:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(Interval(*span))
    return merged


def total_length(spans: Sequence[Interval]) -> float:
    """Seconds covered by the union of the spans."""
    return sum(span.length for span in merge(spans))
