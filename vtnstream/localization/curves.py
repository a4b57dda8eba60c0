"""Reduce values per token to curves over time with a bounded number of equal parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from vtnstream.types import (
    Curve,
    FloatArray,
    ScoreCurve,
    ScoreTimeline,
    SecondsArray,
    Segment,
    TokenTimes,
)

_NUM_PARTS = 512
"""Maximum number of parts of a curve: about the width in pixels of its drawing."""

MAX_SCORE_CURVES = 16
NUM_SCORE_PARTS = 320
"""Number of parts of a score curve; a report stores at most 16 labels of 3 x 320 numbers."""

_SCORE_DIGITS = 4


def time_curve(times: TokenTimes, values: FloatArray, *, num_parts: int = _NUM_PARTS) -> Curve:
    """Return the mean of a quantity over equal parts of the time that tokens span.

    A token's value applies from its start to its end. The value of a part is the mean over the
    time in it that tokens cover, or None if no token does.

    Args:
        times: N tokens, at least one.
        values: (N,) values.
        num_parts: maximum number of parts; it is reduced to the number of tokens.
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


def score_curves(timeline: ScoreTimeline, segments: Sequence[Segment]) -> tuple[ScoreCurve, ...]:
    """Return the score curves of a timeline's most prominent labels.

    These are the labels with segments, by total duration, then those with the highest scores.

    Args:
        timeline: (N, K) scores before smoothing.
        segments: segments of the timeline; segments of other tracks are ignored.

    Returns:
        At most :data:`MAX_SCORE_CURVES` curves, in the order of the timeline's labels.
    """
    if not timeline.scores.size:
        return ()
    seconds = dict.fromkeys(timeline.labels, 0.0)
    for segment in segments:
        if segment.track in (None, timeline.track) and segment.label in seconds:
            seconds[segment.label] += segment.end - segment.start
    peaks = timeline.scores.max(axis=0)
    order = sorted(
        range(len(timeline.labels)), key=lambda k: (-seconds[timeline.labels[k]], -peaks[k])
    )
    return tuple(_score_curve(timeline, k) for k in sorted(order[:MAX_SCORE_CURVES]))


def _score_curve(timeline: ScoreTimeline, label: int) -> ScoreCurve:
    values = np.ascontiguousarray(timeline.scores[:, label])
    times = timeline.times
    curve = time_curve(times, values, num_parts=NUM_SCORE_PARTS)
    low = high = None
    if len(times) > len(curve.values):
        edges = np.linspace(curve.start, curve.end, len(curve.values) + 1)
        firsts = np.searchsorted(times.end_seconds, edges[:-1], "right")
        stops = np.searchsorted(times.start_seconds, edges[1:], "left")
        parts = [values[a:b] for a, b in zip(firsts, stops, strict=True)]
        low = _rounded(part.min() if len(part) else None for part in parts)
        high = _rounded(part.max() if len(part) else None for part in parts)
    return ScoreCurve(
        curve.start, curve.end, _rounded(curve.values), timeline.labels[label], low, high
    )


def _rounded(values: Iterable[float | None]) -> tuple[float | None, ...]:
    return tuple(None if v is None else round(float(v), _SCORE_DIGITS) for v in values)


def _until(edges: SecondsArray, times: TokenTimes, amounts: SecondsArray) -> SecondsArray:
    """Return how much of the tokens' ``amounts`` lies before each edge, spread evenly over each
    token."""
    total = np.concatenate([[0.0], np.cumsum(amounts)])
    # The piecewise linear cumulative sum is constant in gaps and rises within tokens.
    corners = np.empty(2 * len(times))
    corners[0::2], corners[1::2] = times.start_seconds, times.end_seconds
    heights = np.empty(2 * len(times))
    heights[0::2], heights[1::2] = total[:-1], total[1:]
    return np.interp(edges, corners, heights)


def relative_weights(weights: FloatArray) -> FloatArray:
    """Return attention weights (N,) as multiples of their mean; uniform attention gives 1."""
    return np.asarray(weights / max(float(weights.mean()), 1e-30), np.float32)
