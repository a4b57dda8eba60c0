"""Smoothing of scores over time, within gap-free runs only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from vtnstream.localization.runs import gap_free_runs
from vtnstream.registry import lookup
from vtnstream.types import FloatArray, ScoreTimeline

Smoother = Callable[[FloatArray, int, FloatArray], None]
"""``smoother(scores (n, K), size, out (n, K))``; ``out`` never overlaps ``scores``."""

_BLOCK_NUMBERS = 1 << 17
"""Numbers worked on at a time: stays in the processor's cache, and small beside (n, K)."""

_NETWORK_LIMIT = 11
"""Largest median by compare-and-exchange of whole arrays; beyond, partitioning is faster."""


def smooth(timeline: ScoreTimeline, name: str, size: int) -> ScoreTimeline:
    """Smooth each gap-free run over ``size`` tokens (the next odd number, so that the window
    is centred); at both ends a run is reflected. ``none`` returns ``timeline`` itself.

    Rows of single-label scores are scaled to sum to 1 again. Uses one further (N, K) array.

    Raises:
        UsageError: no smoother of that name.
    """
    if name == "none" or size <= 1:
        return timeline
    smoother = lookup(SMOOTHERS, name, "smoothing")
    scores = np.empty_like(timeline.scores)
    for part in gap_free_runs(timeline.times):
        smoother(timeline.scores[part], size, scores[part])
    if not timeline.multi_label:
        _normalize_rows(scores, timeline.scores)
    return dataclasses.replace(timeline, scores=scores)


def median(scores: FloatArray, size: int, out: FloatArray) -> None:
    """Median of each label over a centred window: removes flicker and keeps boundaries."""
    size |= 1
    by_network = size <= _NETWORK_LIMIT
    numbers = _BLOCK_NUMBERS if by_network else 4 * _BLOCK_NUMBERS // size
    for part, padded in _blocks(scores, size, numbers):
        count = part.stop - part.start
        shifted = [padded[i : i + count] for i in range(size)]
        if by_network:
            out[part] = _network_median(shifted)
        else:
            stack = np.stack(shifted)
            stack.partition(size // 2, axis=0)
            out[part] = stack[size // 2]


def gaussian(scores: FloatArray, size: int, out: FloatArray) -> None:
    """Weighted mean over a centred window; the standard deviation is a quarter of ``size``
    tokens, so that the window reaches two of them to each side."""
    offsets = np.arange(size | 1) - (size | 1) // 2
    weights = np.exp(-0.5 * (offsets / (size / 4)) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for part, padded in _blocks(scores, size | 1, _BLOCK_NUMBERS):
        count = part.stop - part.start
        out[part] = weights[0] * padded[:count]
        for i, weight in enumerate(weights[1:], 1):
            out[part] += weight * padded[i : i + count]


SMOOTHERS: Mapping[str, Smoother] = {"median": median, "gaussian": gaussian}


def _blocks(scores: FloatArray, size: int, numbers: int) -> Iterator[tuple[slice, FloatArray]]:
    """Slices of the rows with about ``numbers`` scores, each with its rows and ``size // 2``
    more on both sides, reflected at the ends of the run (``d c b a | a b c d | d c b a``)."""
    count, num_labels = scores.shape
    reach = size // 2
    rows = max(1, numbers // max(1, num_labels))
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        wanted = np.arange(start - reach, stop + reach) % (2 * count)
        yield slice(start, stop), scores[np.minimum(wanted, 2 * count - 1 - wanted)]


def _network_median(arrays: list[FloatArray]) -> FloatArray:
    """Median of an odd number of arrays, element by element: a bubble sort of whole arrays
    that stops when the upper half has risen past the middle."""
    arrays = list(arrays)
    for last in range(len(arrays) - 1, len(arrays) // 2 - 1, -1):
        for i in range(last):
            low = np.minimum(arrays[i], arrays[i + 1])
            arrays[i + 1] = np.maximum(arrays[i], arrays[i + 1])
            arrays[i] = low
    return arrays[len(arrays) // 2]


def _normalize_rows(scores: FloatArray, raw: FloatArray) -> None:
    """Scale rows to sum to 1. A median may leave nothing of a row (three tokens of three
    labels): such a row keeps its ``raw`` scores."""
    sums = scores.sum(axis=1)
    empty = sums <= 0
    scores[empty] = raw[empty]
    sums[empty] = 1
    scores /= sums[:, None]
