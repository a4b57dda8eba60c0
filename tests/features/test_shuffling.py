from __future__ import annotations

import numpy as np
import pytest

from vtnstream.features import shuffling
from vtnstream.features.shuffling import shuffled
from vtnstream.types import Features, TokenTimes


def sequence(count: int) -> Features:
    indices = np.arange(count) * 3
    seconds = indices / 2.0
    values = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    return Features(values, TokenTimes(indices, indices, seconds, seconds + 0.5))


@pytest.mark.parametrize("count", [0, 1, 2, 500])
@pytest.mark.parametrize("block", [7, 4096])
def test_features_are_shuffled_and_times_are_kept(
    count: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffling, "_BLOCK", block)
    features = sequence(count)
    result = shuffled(features, 5)
    assert result.times is features.times
    order = np.random.default_rng(5).permutation(count)
    np.testing.assert_array_equal(result.values, features.values[order])
    if count > 10:
        assert (result.values != features.values).any()


def test_the_order_depends_on_the_seed() -> None:
    features = sequence(100)
    one, same, other = (shuffled(features, seed).values for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
