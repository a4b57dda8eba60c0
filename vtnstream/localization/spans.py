"""Spans of tokens within a gap-free run, and joining of those with equal labels.

A span is measured in tokens; the run's edges give the seconds.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.localization.labelling import UNLABELLED
from vtnstream.localization.runs import TIME_TOLERANCE, Run
from vtnstream.types import IndexArray


@dataclass(slots=True)
class Span:
    """The tokens ``[first, stop)``, which have one label; ``total`` is the sum of its
    probabilities."""

    first: int
    stop: int
    label: int
    total: float

    @property
    def score(self) -> float:
        """Mean probability of the label; 0 for unlabelled spans."""
        return 0.0 if self.label == UNLABELLED else self.total / (self.stop - self.first)


def spans_of(run: Run, labels: IndexArray) -> list[Span]:
    """Return the spans of equal labels, which cover the run without overlap.

    Args:
        run: n tokens.
        labels: (n,) labels.
    """
    count = len(labels)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1])
    chosen = np.take_along_axis(run.scores, np.maximum(labels, 0)[:, None], axis=1)[:, 0]
    totals = np.add.reduceat(chosen.astype(np.float64), starts)
    stops = np.append(starts[1:], count)
    return [
        Span(int(first), int(stop), int(labels[first]), float(total))
        for first, stop, total in zip(starts, stops, totals, strict=True)
    ]


def join_close(run: Run, spans: list[Span], merge_gap: float, never: Collection[int]) -> list[Span]:
    """Join spans of equal labels at most ``merge_gap`` seconds apart, replacing the spans between
    them.

    Joining goes from the start to the end, so that the first of two alternating labels remains.

    Args:
        run: the run that the spans cover.
        spans: in order, without overlap.
        merge_gap: seconds.
        never: labels that are not joined (background, unlabelled).
    """
    joined: list[Span] = []
    places: dict[int, list[int]] = {}
    for span in spans:
        where = places.setdefault(span.label, [])
        if where and span.label not in never:
            earlier = joined[where[-1]]
            if run.duration(earlier.stop, span.first) <= merge_gap + TIME_TOLERANCE:
                for swallowed in joined[where[-1] + 1 :]:
                    places[swallowed.label].pop()
                del joined[where[-1] + 1 :]
                earlier.total += run.total(span.label, earlier.stop, span.first) + span.total
                earlier.stop = span.stop
                continue
        where.append(len(joined))
        joined.append(span)
    return joined


def on_spans(
    run: Run, on: NDArray[np.bool_], merge_gap: float, min_duration: float
) -> tuple[IndexArray, IndexArray]:
    """Return the spans in which one label of multi-label scores is on.

    Spans at most ``merge_gap`` seconds apart are joined; then those shorter than
    ``min_duration`` are dropped.

    Args:
        run: n tokens.
        on: (n,) bool.
        merge_gap: seconds.
        min_duration: seconds.

    Returns:
        First tokens and stop tokens of the spans.
    """
    padded = np.concatenate([[False], on, [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    firsts, stops = changes[::2], changes[1::2]
    apart = run.edges[firsts[1:]] - run.edges[stops[:-1]] > merge_gap + TIME_TOLERANCE
    firsts = firsts[np.concatenate([[True], apart])] if len(firsts) else firsts
    stops = stops[np.concatenate([apart, [True]])] if len(stops) else stops
    lasting = run.edges[stops] - run.edges[firsts] >= min_duration - TIME_TOLERANCE
    return firsts[lasting], stops[lasting]
