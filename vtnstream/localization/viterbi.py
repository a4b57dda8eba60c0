"""Exact Viterbi decoding with one cost for every change of label.

Because the cost is the same for all pairs of labels, a token needs O(K) work: a label either
continues or follows the best previous label. Back pointers take one bit per token and label and
one label per token, which is 1/32 of the scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtnstream.types import FloatArray, IndexArray

_BLOCK_NUMBERS = 1 << 17
_FLOOR = np.finfo(np.float32).tiny
"""Lowest probability whose logarithm is taken (-87 nats)."""


def viterbi(scores: FloatArray, switching_cost: float) -> IndexArray:
    """Return the labels that maximise the sum of log-probabilities minus ``switching_cost`` per
    change.

    If staying and switching have equal value, the label stays; of equal labels the first wins.

    Args:
        scores: (n, K) float32 probabilities of one gap-free run.
        switching_cost: nats, not negative.

    Returns:
        (n,) int64 label indices.
    """
    count, num_labels = scores.shape
    path = np.zeros(count, np.int64)
    if not count or not num_labels:
        return path
    entered_from = np.zeros(count, np.int32)
    entered = np.zeros((count, (num_labels + 7) // 8), np.uint8)
    best = np.zeros(num_labels)
    flags = np.zeros(num_labels, bool)
    rows = max(1, _BLOCK_NUMBERS // num_labels)
    for start in range(0, count, rows):
        gains = np.log(np.maximum(scores[start : start + rows], _FLOOR), dtype=np.float64)
        for t, gain in enumerate(gains, start):
            if t:
                leader = best.argmax()
                entry = best[leader] - switching_cost
                np.less(best, entry, out=flags)
                np.maximum(best, entry, out=best)
                entered_from[t] = leader
                entered[t] = np.packbits(flags)
            best += gain
    label = int(best.argmax())
    for t in range(count - 1, -1, -1):
        path[t] = label
        if entered[t, label >> 3] >> (7 - (label & 7)) & 1:
            label = int(entered_from[t])
    return path


def viterbi_on_off(scores: FloatArray, switching_cost: float) -> NDArray[np.bool_]:
    """Decode multi-label scores: each label is on (p) or off (1 - p), independently of the others.

    Args:
        scores: (n, K) float32 probabilities of one gap-free run.
        switching_cost: nats for each switch on or off.

    Returns:
        (n, K) bool, True where a label is on; a tie is off.
    """
    count, num_labels = scores.shape
    on = np.zeros((count, num_labels), bool)
    if not count or not num_labels:
        return on
    # lead: log-probability of the best path that ends on, minus that of the best that ends off.
    # It saturates at +- the cost; where it does, it determines the previous state.
    lead = np.zeros(num_labels)
    forced_on = np.zeros((count, (num_labels + 7) // 8), np.uint8)
    forced_off = np.zeros_like(forced_on)
    rows = max(1, _BLOCK_NUMBERS // num_labels)
    for start in range(0, count, rows):
        block = scores[start : start + rows]
        gains = np.log(np.maximum(block, _FLOOR), dtype=np.float64)
        gains -= np.log(np.maximum(1 - block, _FLOOR), dtype=np.float64)
        for t, gain in enumerate(gains, start):
            if t:
                forced_on[t] = np.packbits(lead > switching_cost)
                forced_off[t] = np.packbits(lead < -switching_cost)
                np.clip(lead, -switching_cost, switching_cost, out=lead)
            lead += gain
    state = lead > 0
    for t in range(count - 1, -1, -1):
        on[t] = state
        if t:
            state |= np.unpackbits(forced_on[t], count=num_labels).view(bool)
            state &= ~np.unpackbits(forced_off[t], count=num_labels).view(bool)
    return on
