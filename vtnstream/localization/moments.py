"""Find the moments with the most attention: peaks at a minimum distance."""

from __future__ import annotations

import numpy as np

from vtnstream.types import FloatArray, Moment, TokenTimes

_LEAST = 0.05
"""Lowest attention of a moment, relative to the mean; less is printed as 0.0."""


def top_moments(
    times: TokenTimes, weights: FloatArray, multiples: FloatArray, *, count: int
) -> list[Moment]:
    """Return the tokens with the most attention, strongest first.

    Each is at least a fortieth of the video away from every stronger one, and has at least a
    twentieth of the mean attention.

    Args:
        times: N tokens.
        weights: (N,) shares of attention.
        multiples: (N,) the same relative to their mean; they determine the order.
        count: maximum number of moments.
    """
    apart = float(times.end_seconds[-1] - times.start_seconds[0]) / 40
    middles = (times.start_seconds + times.end_seconds) / 2
    chosen: list[int] = []
    for number in np.argsort(-multiples, kind="stable").tolist():
        if len(chosen) == count or multiples[number] < _LEAST:
            break
        if all(abs(middles[number] - middles[other]) >= apart for other in chosen):
            chosen.append(number)
    return [
        Moment(
            float(times.start_seconds[i]),
            float(times.end_seconds[i]),
            float(weights[i]),
            float(multiples[i]),
        )
        for i in chosen
    ]
