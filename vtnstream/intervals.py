"""Half-open intervals ``[start, end)`` in seconds, and operations on lists of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Interval(NamedTuple):
    """A half-open interval ``[start, end)`` in seconds."""

    start: float
    end: float

    @property
    def length(self) -> float:
        return max(0.0, self.end - self.start)


def _intersection(a: Interval, b: Interval) -> float:
    """Return the length in seconds of the intersection of two intervals."""
    return max(0.0, min(a.end, b.end) - max(a.start, b.start))


def temporal_iou(a: Interval, b: Interval) -> float:
    """Return the temporal intersection over union (tIoU) of two intervals; 0 if both are empty."""
    shared = _intersection(a, b)
    union = a.length + b.length - shared
    return shared / union if union > 0 else 0.0


def merge(spans: Iterable[Interval], max_gap: float = 0.0) -> list[Interval]:
    """Return the sorted union of intervals; neighbours at most ``max_gap`` seconds apart are
    joined."""
    merged: list[Interval] = []
    for span in sorted(spans):
        if merged and span.start - merged[-1].end <= max_gap:
            merged[-1] = Interval(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(Interval(*span))
    return merged


def total_length(spans: Sequence[Interval]) -> float:
    """Return the length in seconds of the union of the intervals."""
    return sum(span.length for span in merge(spans))
