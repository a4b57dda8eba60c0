"""The moments with the most attention."""

from __future__ import annotations

import numpy as np

from tests.localization.cases import token_times
from vtnstream.localization.moments import top_moments


def test_a_moment_without_attention_is_none() -> None:
    weights = np.array([0.5, 0.0, 0.47, 0.03, 0.0], np.float32)
    found = top_moments(token_times([1.0] * 5), weights, 5 * weights, count=5)
    assert [m.start for m in found] == [0, 2, 3]
