"""Curves over time against integrals worked the long way."""

from __future__ import annotations

import numpy as np
import pytest

from vtnstream.localization.curves import relative_weights, time_curve
from vtnstream.types import TokenTimes


def tokens(starts: list[float], ends: list[float]) -> TokenTimes:
    count = len(starts)
    return TokenTimes(
        np.arange(count), np.arange(count), np.array(starts, float), np.array(ends, float)
    )


def test_parts_hold_the_mean_over_covered_time() -> None:
    times = tokens([0, 1, 4], [1, 2, 8])  # nothing between 2 and 4
    curve = time_curve(times, np.array([1, 3, 5], np.float32), num_parts=2)
    # 0 to 4: one second of 1, one of 3; 4 to 8: 5.
    assert curve.values == pytest.approx((2.0, 5.0))
    assert (curve.start, curve.end) == (0.0, 8.0)


def test_a_part_without_tokens_is_none() -> None:
    times = tokens([0, 9], [1, 10])
    curve = time_curve(times, np.array([1, 2], np.float32), num_parts=2)
    assert curve.values == pytest.approx((1.0, 2.0))
    times = tokens([0, 1, 2, 9], [1, 2, 3, 10])
    curve = time_curve(times, np.array([1, 1, 1, 2], np.float32), num_parts=4)
    assert curve.values == (1.0, 1.0, None, 2.0)


def test_against_a_fine_grid() -> None:
    random = np.random.default_rng(0)
    lengths = random.uniform(0.2, 2, 400)
    ends = np.cumsum(lengths)
    values = random.normal(size=400).astype(np.float32)
    curve = time_curve(tokens((ends - lengths).tolist(), ends.tolist()), values, num_parts=37)
    fine = np.linspace(0, ends[-1], 37 * 4000, endpoint=False) + ends[-1] / 37 / 8000
    sampled = values[np.searchsorted(ends, fine, side="right")].reshape(37, 4000).mean(1)
    np.testing.assert_allclose(curve.values, sampled, atol=5e-3)


def test_weights_are_relative_to_even_attention() -> None:
    np.testing.assert_allclose(relative_weights(np.full(7, 0.1, np.float32)), 1, rtol=1e-6)
    sharp = relative_weights(np.array([0.3, 0, 0], np.float32))
    np.testing.assert_allclose(sharp, [3, 0, 0], rtol=1e-6)
