"""Shuffle features in time, to measure how much a model uses their order (paper table 2b)."""

from __future__ import annotations

import numpy as np

from vtnstream.types import Features, FeatureSequence

_BLOCK = 4096


def shuffled(features: FeatureSequence, seed: int) -> Features:
    """Return the same features in random order.

    Times and positions keep their order, so that the model adds position embeddings after the
    shuffle, as in the paper.

    Args:
        features: N tokens of D features; all of them are held in memory.
        seed: random seed; the order depends only on the seed and N.
    """
    count = len(features.times)
    place = np.empty(count, np.int64)  # new position of each token
    place[np.random.default_rng(seed).permutation(count)] = np.arange(count)
    values = np.empty((count, features.num_features), np.float32)
    start = 0
    for block in features.blocks(_BLOCK):
        values[place[start : start + len(block)]] = block
        start += len(block)
    return Features(values, features.times)
