"""Sliding windows of tokens, and the conversion of their scores to scores per token."""

from __future__ import annotations

import numpy as np

from vtnstream.errors import UsageError
from vtnstream.types import FloatArray, ScoreTimeline

_BLOCK_NUMBERS = 1 << 18
"""Numbers processed at a time: 1 MB of float32."""

_FLOOR = np.float32(1e-12)
"""Lowest probability whose logarithm is taken."""


def window_starts(num_tokens: int, window: int, stride: int) -> list[int]:
    """Return the first tokens of the windows over a sequence.

    The last window is shifted back to end with the sequence, never padded; a sequence shorter
    than a window is one window ``[0, num_tokens)``.

    Raises:
        UsageError: window or stride is not positive, or the stride skips tokens.
    """
    if window < 1 or not 1 <= stride <= window:
        raise UsageError(f"window {window} and stride {stride}: need 1 <= stride <= window")
    if num_tokens <= window:
        return [0] if num_tokens else []
    last = num_tokens - window
    starts = list(range(0, last + 1, stride))
    return starts if starts[-1] == last else [*starts, last]


def triangular_weights(window: int) -> FloatArray:
    """Return (window,) float32 weights ``min(i + 1, window - i)``: highest in the middle, never
    zero."""
    ramp = np.arange(1, window + 1, dtype=np.float32)
    return np.minimum(ramp, ramp[::-1])


class SlidingScores:
    """Mean scores of the windows that cover each token, with triangular weights.

    It holds one (N, K) float32 buffer, which :meth:`result` converts in place.

    Args:
        num_tokens: N.
        num_labels: K.
        window: number of tokens per window; a shorter sequence is one window.
    """

    def __init__(self, num_tokens: int, num_labels: int, window: int) -> None:
        self._window = min(window, num_tokens)
        self._ramp = triangular_weights(self._window)
        self._sums: FloatArray | None = np.zeros((num_tokens, num_labels), np.float32)
        self._weights = np.zeros(num_tokens, np.float32)

    def add(self, start: int, scores: FloatArray) -> None:
        """Add the scores of one window.

        Args:
            start: first token of the window.
            scores: (K,) probabilities of the window.

        Raises:
            ValueError: the window exceeds the sequence, or :meth:`result` was called.
        """
        if self._sums is None:
            raise ValueError("the result of these windows has been read already")
        stop = start + self._window
        if start < 0 or stop > len(self._weights):
            raise ValueError(f"window [{start}, {stop}) leaves {len(self._weights)} tokens")
        self._sums[start:stop] += self._ramp[:, None] * scores
        self._weights[start:stop] += self._ramp

    def result(self) -> FloatArray:
        """Return the (N, K) float32 scores per token. It can be called once.

        Raises:
            ValueError: a token lies in no window, or the method was called before.
        """
        if self._sums is None:
            raise ValueError("the result of these windows has been read already")
        if not self._weights.all():
            raise ValueError(f"token {int(self._weights.argmin())} lies in no window")
        scores, self._sums = self._sums, None
        scores /= self._weights[:, None]
        return scores


def combine(a: ScoreTimeline, b: ScoreTimeline, *, out: FloatArray | None = None) -> ScoreTimeline:
    """Return the mean of the log-probabilities of two timelines of the same tokens and labels.

    Rows are normalised to sum to 1 again. For multi-label scores, each label has a distribution
    over yes and no, of which the mean is taken.

    Args:
        a: first timeline, whose order of labels is kept.
        b: second timeline, with the labels in any order.
        out: (N, K) float32 for the result, such as ``a.scores`` to save memory; a new array by
            default.

    Raises:
        ValueError: the labels or tokens differ, or only one of the two is multi-label.
    """
    if set(a.labels) != set(b.labels) or a.multi_label != b.multi_label:
        raise ValueError("only timelines with the same labels can be combined")
    if not np.array_equal(a.times.indices, b.times.indices):
        raise ValueError("only timelines of the same tokens can be combined")
    columns = None if a.labels == b.labels else [b.labels.index(label) for label in a.labels]
    scores = np.empty_like(a.scores) if out is None else out
    rows = max(1, _BLOCK_NUMBERS // max(1, len(a.labels)))
    for start in range(0, len(scores), rows):
        part = slice(start, start + rows)
        other = b.scores[part] if columns is None else b.scores[part][:, columns]
        scores[part] = _geometric_mean(a.scores[part], other, a.multi_label)
    return ScoreTimeline(scores, a.times, a.labels, a.multi_label, "combined")


def _geometric_mean(a: FloatArray, b: FloatArray, multi_label: bool) -> FloatArray:
    """Return exp of the mean of logs, normalised, as the square root of the product."""
    product: FloatArray = np.sqrt(np.maximum(a, _FLOOR) * np.maximum(b, _FLOOR))
    if multi_label:
        refusal = np.sqrt(np.maximum(1 - a, _FLOOR) * np.maximum(1 - b, _FLOOR))
        product /= product + refusal
    else:
        product /= product.sum(axis=1, keepdims=True)
    return product
