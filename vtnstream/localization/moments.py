"""The moments a curve of attention is about: its peaks, apart from each other."""

from __future__ import annotations

import numpy as np

from vtnstream.types import FloatArray, Moment, TokenTimes


def top_moments(
    times: TokenTimes, weights: FloatArray, multiples: FloatArray, *, count: int
) -> list[Moment]:
    """The tokens with most attention, strongest first, none within a fortieth of the video of
    a stronger one.

    Args:
        times: N tokens.
        weights: (N,) shares of attention.
        multiples: (N,) the same relative to their mean, by which they are ranked.
        count: how many, at most.
    """
    apart = float(times.end_seconds[-1] - times.start_seconds[0]) / 40
    middles = (times.start_seconds + times.end_seconds) / 2
    chosen: list[int] = []
    for number in np.argsort(-multiples, kind="stable").tolist():
        if len(chosen) == count:
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
