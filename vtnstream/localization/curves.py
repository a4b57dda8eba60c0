"""Numbers per token as curves over time, in a bounded number of equal parts."""

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

NUM_PARTS = 512
"""Parts of a curve: about the pixels a page or a terminal has for it."""

MAX_SCORE_CURVES = 16
NUM_SCORE_PARTS = 320
"""Bounds of what a report stores: at most 16 labels of 3 x 320 numbers."""

_SCORE_DIGITS = 4


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


def score_curves(timeline: ScoreTimeline, segments: Sequence[Segment]) -> tuple[ScoreCurve, ...]:
    """The scores of a timeline's most prominent labels in bounded size: those that have
    segments, longest first, then those that come nearest to one.

    Args:
        timeline: (N, K) scores before smoothing.
        segments: what was cut from it; segments of other tracks are ignored.

    Returns:
        At most :data:`MAX_SCORE_CURVES`, in the order of the timeline's labels.
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
