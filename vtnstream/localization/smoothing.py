"""Smooth scores over time, within gap-free runs only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from vtnstream.localization.runs import gap_free_runs
from vtnstream.registry import lookup
from vtnstream.types import FloatArray, ScoreTimeline

Smoother = Callable[[FloatArray, int, FloatArray], None]
"""Function ``smoother(scores (n, K), size, out (n, K))``; ``out`` never overlaps ``scores``."""

_BLOCK_NUMBERS = 1 << 17
"""Numbers processed at a time: they fit into the processor's cache."""

_NETWORK_LIMIT = 11
"""Largest window of the median by compare-and-exchange of arrays; beyond it, partitioning is
faster."""


def smooth(timeline: ScoreTimeline, name: str, size: int) -> ScoreTimeline:
    """Smooth each gap-free run over ``size`` tokens, or the next odd number.

    The ends of a run are reflected. Rows of single-label scores are normalised to sum to 1
    again. ``none`` returns ``timeline`` itself; other methods use one further (N, K) array.

    Raises:
        UsageError: the name of the method is unknown.
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
    """Compute the median of each label over a centred window: flicker is removed, boundaries
    remain."""
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
    """Compute a weighted mean over a centred window.

    The standard deviation is a quarter of ``size`` tokens, so that the window covers two
    standard deviations on each side.
    """
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
    """Yield slices of rows with about ``numbers`` scores, each with its padded rows.

    The padding is ``size // 2`` rows on both sides, reflected at the ends of the run (``d c b a
    | a b c d | d c b a``).
    """
    count, num_labels = scores.shape
    reach = size // 2
    rows = max(1, numbers // max(1, num_labels))
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        wanted = np.arange(start - reach, stop + reach) % (2 * count)
        yield slice(start, stop), scores[np.minimum(wanted, 2 * count - 1 - wanted)]


def _network_median(arrays: list[FloatArray]) -> FloatArray:
    """Return the elementwise median of an odd number of arrays.

    It is a bubble sort of whole arrays that stops when the upper half is in place.
    """
    arrays = list(arrays)
    for last in range(len(arrays) - 1, len(arrays) // 2 - 1, -1):
        for i in range(last):
            low = np.minimum(arrays[i], arrays[i + 1])
            arrays[i + 1] = np.maximum(arrays[i], arrays[i + 1])
            arrays[i] = low
    return arrays[len(arrays) // 2]


def _normalize_rows(scores: FloatArray, raw: FloatArray) -> None:
    """Scale rows in place to sum to 1.

    A row that the median made zero (three tokens of three labels) is replaced by its ``raw``
    scores.
    """
    sums = scores.sum(axis=1)
    empty = sums <= 0
    scores[empty] = raw[empty]
    sums[empty] = 1
    scores /= sums[:, None]
