"""The linear probe fulfils the conditions of its optimum."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.cases import features
from vtnstream.training.probe import fit_probe, mean_pool


def data(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    values = rng.normal(size=(count, 5)) * [1, 10, 100, 1, 0] + 7
    values[:, 0] += 6 * labels
    return values, labels


def test_mean_pooling_reads_blocks() -> None:
    made = features(33)
    np.testing.assert_allclose(mean_pool(made), made.values.mean(0), rtol=1e-4, atol=1e-6)


def test_separable_classes_are_separated() -> None:
    probe = fit_probe(*data(300, 0), 3)
    assert probe.accuracy(*data(300, 1)) > 90


def test_the_gradient_vanishes_at_the_optimum() -> None:
    values, labels = data(80, 2)
    probe = fit_probe(values, labels, 3, penalty=2.0)
    inputs = (values - probe.mean) / probe.std
    logits = probe.logits(values)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    shares[np.arange(len(labels)), labels] -= 1
    np.testing.assert_allclose(shares.T @ inputs + 2.0 * probe.weight, 0, atol=1e-3)
    np.testing.assert_allclose(shares.sum(0), 0, atol=1e-3)


def test_the_probe_is_deterministic_and_the_penalty_shrinks_weights() -> None:
    values, labels = data(60, 3)
    one, two = fit_probe(values, labels, 3), fit_probe(values, labels, 3)
    np.testing.assert_array_equal(one.weight, two.weight)
    strong = fit_probe(values, labels, 3, penalty=100.0)
    assert np.abs(strong.weight).sum() < np.abs(one.weight).sum()
    assert one.accuracy(values, labels) == pytest.approx(
        100 * (one.logits(values).argmax(1) == labels).mean()
    )
