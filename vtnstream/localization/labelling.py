"""Choose the labels of each token of a gap-free run: argmax, threshold, Viterbi or hysteresis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import TimelineConfig
from vtnstream.localization.viterbi import viterbi, viterbi_on_off
from vtnstream.types import FloatArray, IndexArray

UNLABELLED = -1
"""Index of tokens without a label."""

MULTI_LABEL_THRESHOLD = 0.5
"""Default threshold of multi-label scores."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Scores at which a label starts (``onset``) and below which it stops (``offset``)."""

    onset: float
    offset: float

    @classmethod
    def of(cls, options: TimelineConfig, *, default: float) -> Levels:
        """Return the levels that the options define.

        If only one of ``onset`` and ``offset`` is given, the other follows from it and
        ``threshold``; without either, both equal the threshold.
        """
        threshold = default if options.threshold is None else options.threshold
        if options.onset is not None:
            offset = options.offset
            if offset is None:
                named = options.threshold is not None
                offset = min(threshold, options.onset) if named else options.onset
            return cls(options.onset, offset)
        if options.offset is not None:
            return cls(max(threshold, options.offset), options.offset)
        return cls(threshold, threshold)

    @property
    def hysteresis(self) -> bool:
        return self.offset < self.onset


def single_label(scores: FloatArray, options: TimelineConfig, fallback: int) -> IndexArray:
    """Return one label for each token.

    Hysteresis is used if the options give an onset or offset, else Viterbi if they give a cost,
    else argmax. Tokens at which no label reaches its level get ``fallback``.

    Args:
        scores: (n, K) probabilities.
        options: labelling options.
        fallback: index of ``background``, or :data:`UNLABELLED`.

    Returns:
        (n,) label indices.
    """
    levels = Levels.of(options, default=0.0)
    if options.onset is not None or options.offset is not None:
        return _hysteresis(scores, levels, fallback)
    if options.viterbi is not None:
        labels = viterbi(scores, options.viterbi)
    else:
        labels = scores.argmax(axis=1)
    if levels.onset > 0:
        chosen = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
        labels[chosen < np.float32(levels.onset)] = fallback
    return labels


def _hysteresis(scores: FloatArray, levels: Levels, fallback: int) -> IndexArray:
    """Return (n,) labels by hysteresis.

    A label starts where its score is the highest and reaches the onset. It continues while it
    reaches the offset and no other label starts.
    """
    leaders = scores.argmax(axis=1)
    leading = np.take_along_axis(scores, leaders[:, None], axis=1)[:, 0]
    starts = leading >= np.float32(levels.onset)
    offset = np.float32(levels.offset)
    labels = np.full(len(scores), fallback, np.int64)
    current = UNLABELLED
    for t, start in enumerate(starts.tolist()):
        if start:
            current = int(leaders[t])
        elif current != UNLABELLED and scores[t, current] < offset:
            current = UNLABELLED
        if current != UNLABELLED:
            labels[t] = current
    return labels


def multi_label(scores: FloatArray, options: TimelineConfig) -> NDArray[np.bool_]:
    """Return (n, K) bool: which labels are on, independently of each other.

    Viterbi between on and off is used if the options give a cost, else hysteresis or the
    threshold.
    """
    levels = Levels.of(options, default=MULTI_LABEL_THRESHOLD)
    if options.viterbi is None:
        return _on_off_hysteresis(scores, levels)
    on = viterbi_on_off(scores, options.viterbi)
    if options.threshold is not None:
        on &= scores >= np.float32(options.threshold)
    return on


def _on_off_hysteresis(scores: FloatArray, levels: Levels) -> NDArray[np.bool_]:
    on: NDArray[np.bool_] = scores >= np.float32(levels.onset)
    if levels.hysteresis:
        stays = np.empty(scores.shape[1], bool)
        offset = np.float32(levels.offset)
        for t in range(1, len(scores)):
            np.greater_equal(scores[t], offset, out=stays)
            stays &= on[t - 1]
            on[t] |= stays
    return on
