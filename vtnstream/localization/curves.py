"""Numbers per token as curves over time, in a bounded number of equal parts."""

from __future__ import annotations

import numpy as np

from vtnstream.types import Curve, FloatArray, SecondsArray, TokenTimes

NUM_PARTS = 512
"""Parts of a curve: about the pixels a page or a terminal has for it."""


def time_curve(times: TokenTimes, values: FloatArray, *, num_parts: int = NUM_PARTS) -> Curve:
    """The mean of a quantity over equal parts of the time that tokens span.

    A token's value holds from its start to its end; a part's value is the mean over the time
    in it that tokens cover, None where none does.

    Args:
        times: N tokens, at least one.
        values: (N,) one number each.
        num_parts: at most so many parts; fewer where there are fewer tokens.
    """
    start, end = float(times.start_seconds[0]), float(times.end_seconds[-1])
    count = max(min(num_parts, len(times)), 1)
    if end <= start:
        return Curve(start, end, (float(values.mean()),))
    edges = np.linspace(start, end, count + 1)
    lengths = times.end_seconds - times.start_seconds
    covered = _until(edges, times, lengths)
    weighted = _until(edges, times, lengths * values.astype(np.float64))
    spans, sums = np.diff(covered), np.diff(weighted)
    enough = spans > 1e-9 * (end - start) / count
    means = np.divide(sums, spans, out=np.zeros_like(sums), where=enough)
    return Curve(
        start, end, tuple(float(m) if e else None for m, e in zip(means, enough, strict=True))
    )


def _until(edges: SecondsArray, times: TokenTimes, amounts: SecondsArray) -> SecondsArray:
    """How much of the tokens' ``amounts`` lies before each edge, spread evenly over each."""
    total = np.concatenate([[0.0], np.cumsum(amounts)])
    # A staircase with slopes: flat in gaps, rising within tokens.
    corners = np.empty(2 * len(times))
    corners[0::2], corners[1::2] = times.start_seconds, times.end_seconds
    heights = np.empty(2 * len(times))
    heights[0::2], heights[1::2] = total[:-1], total[1:]
    return np.interp(edges, corners, heights)


def relative_weights(weights: FloatArray) -> FloatArray:
    """Attention weights (N,) as multiples of their mean: 1 everywhere if every token got the
    same."""
    return np.asarray(weights / max(float(weights.mean()), 1e-30), np.float32)
