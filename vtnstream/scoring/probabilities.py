"""Convert logits to probabilities."""

from __future__ import annotations

import numpy as np

from vtnstream.config import HeadConfig
from vtnstream.types import FloatArray


def class_probabilities(logits: FloatArray, head: HeadConfig) -> FloatArray:
    """Apply the softmax (or sigmoid) of each class head to its columns of (..., K), in place."""
    for part in head.class_heads:
        probabilities(logits[..., part.columns], head.multi_label)
    return logits


def probabilities(logits: FloatArray, multi_label: bool) -> FloatArray:
    """Apply softmax (or sigmoid) over the last axis in place, because a timeline may be large."""
    if multi_label:
        np.negative(logits, out=logits)
        np.exp(np.clip(logits, -80, 80, out=logits), out=logits)
        logits += 1
        return np.reciprocal(logits, out=logits)
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    return logits
