"""Metrics of moment retrieval and of presence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtnstream.types import FloatArray

Span = tuple[float, float]
THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))


def tiou(a: Span, b: Span) -> float:
    """Return the intersection over union of two spans."""
    both = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    either = (a[1] - a[0]) + (b[1] - b[0]) - both
    return both / either if either > 0 else 0.0


def recall_at_one(found: Sequence[Span], truth: Sequence[Span], threshold: float = 0.5) -> bool:
    """Return whether the best span matches one of the true ones."""
    return bool(found) and max(tiou(found[0], span) for span in truth) >= threshold


def average_precision(found: Sequence[Span], truth: Sequence[Span], threshold: float) -> float:
    """Return the average precision of one query: spans in their order, each true span matched
    once."""
    left, hits, total = list(truth), 0, 0.0
    for rank, span in enumerate(found, 1):
        overlaps = [tiou(span, one) for one in left]
        if overlaps and max(overlaps) >= threshold:
            left.pop(int(np.argmax(overlaps)))
            hits += 1
            total += hits / rank
    return total / len(truth)


def mean_average_precision(found: Sequence[Span], truth: Sequence[Span]) -> float:
    """Return the mean over tIoU .5 to .95, as in QVHighlights."""
    return float(np.mean([average_precision(found, truth, t) for t in THRESHOLDS]))


def retrieval_precision(similarities: FloatArray, related: np.ndarray) -> float:
    """Return the average precision of one ranking: ``related`` (n,) bool in the order of the
    scores."""
    ranked = related[np.argsort(-similarities, kind="stable")]
    if not ranked.any():
        return float("nan")
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())


@dataclass(slots=True)
class Presence:
    """Counts of queries that are shown and that are not, and of those that were answered."""

    present: int = 0
    found: int = 0
    absent: int = 0
    answered: int = 0
    absent_hours: float = 0.0

    def add(self, *, shown: bool, answered: bool, seconds: float) -> None:
        if shown:
            self.present += 1
            self.found += answered
        else:
            self.absent += 1
            self.answered += answered
            self.absent_hours += seconds / 3600

    @property
    def false_answers_an_hour(self) -> float | None:
        """Absent queries that were answered, per hour of video and query."""
        return self.answered / self.absent_hours if self.absent_hours else None
