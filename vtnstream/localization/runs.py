"""Gap-free runs of tokens. No function of this package smooths or labels across a gap."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vtnstream.types import FloatArray, SecondsArray, TokenTimes

TIME_TOLERANCE = 1e-6
"""Difference in seconds that rounding may cause between equal times."""


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The n tokens of a gap-free run.

    Attributes:
        scores: (n, K) float32 view of the timeline.
        edges: (n + 1,) seconds; token i spans ``[edges[i], edges[i + 1])``, so that adjacent
            segments share their boundary exactly.
    """

    scores: FloatArray
    edges: SecondsArray

    def duration(self, first: int, stop: int) -> float:
        """Return the duration in seconds of the tokens ``[first, stop)``."""
        return float(self.edges[stop] - self.edges[first])

    def total(self, label: int, first: int, stop: int) -> float:
        """Return the sum of a label's probabilities over the tokens ``[first, stop)``."""
        return float(self.scores[first:stop, label].sum(dtype=np.float64))


def gap_free_runs(times: TokenTimes) -> list[slice]:
    """Split tokens at gaps.

    A gap is a missing index of the sampling grid, or a token that ends before the next one
    starts.
    """
    count = len(times)
    if not count:
        return []
    jumps = np.diff(times.indices) != 1
    holes = times.start_seconds[1:] - times.end_seconds[:-1] > TIME_TOLERANCE
    cuts = [0, *(int(i) + 1 for i in np.flatnonzero(jumps | holes)), count]
    return [slice(a, b) for a, b in pairwise(cuts)]


def split_runs(scores: FloatArray, times: TokenTimes) -> list[Run]:
    """Return the gap-free runs of (N, K) scores, as views."""
    return [
        Run(
            scores[part],
            np.append(times.start_seconds[part], times.end_seconds[part.stop - 1]),
        )
        for part in gap_free_runs(times)
    ]
