"""Features in another order, to ask how much a model makes of time (paper Table 2b)."""

from __future__ import annotations

import numpy as np

from vtnstream.types import Features, FeatureSequence

BLOCK = 4096


def shuffled(features: FeatureSequence, seed: int) -> Features:
    """The same frames in random order at the same times: features move, positions stay, so a
    model adds its position embeddings after the shuffle, as the paper does.

    Args:
        features: N tokens of D features; all of them are held in memory.
        seed: the same seed shuffles a sequence of N tokens alike on every machine.
    """
    count = len(features.times)
    place = np.empty(count, np.int64)  # where each token goes
    place[np.random.default_rng(seed).permutation(count)] = np.arange(count)
    values = np.empty((count, features.num_features), np.float32)
    start = 0
    for block in features.blocks(BLOCK):
        values[place[start : start + len(block)]] = block
        start += len(block)
    return Features(values, features.times)
