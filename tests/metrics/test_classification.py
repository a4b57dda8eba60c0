from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from vtnstream.metrics.classification import (
    bootstrap_interval,
    calibration_error,
    confusion_matrix,
    joint_top_k_accuracy,
    mean_class_accuracy,
    mean_interval,
    t_quantile,
    top_k_accuracy,
)


def test_top_k_accuracy_equals_hand_computed_values() -> None:
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    targets = np.array([1, 1, 0, 2])  # ranks 1, 2, 3, 3
    assert top_k_accuracy(scores, targets) == 0.25
    assert top_k_accuracy(scores, targets, k=2) == 0.5
    assert top_k_accuracy(scores, targets, k=3) == 1.0
    assert top_k_accuracy(scores, targets, k=99) == 1.0


def test_top_k_accuracy_equals_sorting() -> None:
    rng = np.random.default_rng(0)
    scores, targets = rng.normal(size=(200, 12)), rng.integers(0, 12, 200)
    order = np.argsort(-scores, axis=1)
    for k in (1, 5):
        expected = np.mean([t in row[:k] for t, row in zip(targets, order, strict=True)])
        assert top_k_accuracy(scores, targets, k) == pytest.approx(expected)


def test_joint_accuracy_ranks_the_products_as_epic_kitchens_does() -> None:
    rng = np.random.default_rng(1)
    verbs = rng.dirichlet(np.ones(7), 300)
    nouns = rng.dirichlet(np.ones(11), 300)
    targets = np.stack([rng.integers(0, 7, 300), rng.integers(0, 11, 300)], axis=1)
    for k in (1, 5):
        hits = []
        for v, n, (verb, noun) in zip(verbs, nouns, targets, strict=True):
            pairs = sorted(((v[a] * n[b], a, b) for a in range(7) for b in range(11)), reverse=True)
            hits.append((verb, noun) in [(a, b) for _, a, b in pairs[:k]])
        assert joint_top_k_accuracy([verbs, nouns], targets, k) == pytest.approx(np.mean(hits))
    both = (verbs.argmax(1) == targets[:, 0]) & (nouns.argmax(1) == targets[:, 1])
    assert joint_top_k_accuracy([verbs, nouns], targets) == pytest.approx(both.mean())
    one = joint_top_k_accuracy([verbs], targets[:, :1], 3)
    assert one == top_k_accuracy(verbs, targets[:, 0], 3)


def test_joint_accuracy_of_three_heads_and_ties() -> None:
    parts = [np.array([[0.6, 0.4]]), np.array([[0.5, 0.5]]), np.array([[0.9, 0.1]])]
    assert joint_top_k_accuracy(parts, np.array([[0, 0, 0]])) == 1.0
    assert joint_top_k_accuracy(parts, np.array([[0, 1, 0]])) == 0.0  # equal, and later
    assert joint_top_k_accuracy(parts, np.array([[0, 1, 0]]), 2) == 1.0
    with pytest.raises(ValueError, match="do not fit 3 heads"):
        joint_top_k_accuracy(parts, np.array([[0, 1]]))


def test_constant_scores_are_correct_for_one_class_only() -> None:
    assert top_k_accuracy(np.ones((4, 4)), np.arange(4)) == 0.25


@pytest.mark.parametrize(
    ("scores", "targets", "k"),
    [
        (np.ones((2, 3)), np.array([0]), 1),
        (np.ones((0, 3)), np.array([], np.int64), 1),
        (np.ones((1, 3)), np.array([3]), 1),
        (np.ones((1, 3)), np.array([-1]), 1),
        (np.full((1, 3), np.nan), np.array([1]), 1),
        (np.ones((1, 3)), np.array([1]), 0),
    ],
)
def test_top_k_accuracy_refuses_invalid_input(
    scores: np.ndarray, targets: np.ndarray, k: int
) -> None:
    with pytest.raises(ValueError):
        top_k_accuracy(scores, targets, k)


def test_confusion_matrix_and_mean_class_accuracy() -> None:
    matrix = confusion_matrix(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 2]), 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    # 2 of 3 and 1 of 2; classes 2 and 3 never occur.
    assert mean_class_accuracy(matrix) == pytest.approx((2 / 3 + 1 / 2) / 2)
    with pytest.raises(ValueError, match=r"outside \[0, 2\)"):
        confusion_matrix(np.array([0]), np.array([2]), 2)
    with pytest.raises(ValueError, match="no video"):
        mean_class_accuracy(np.zeros((2, 2), np.int64))


@pytest.mark.parametrize(
    ("confidence", "degrees", "t"),
    [  # printed tables of Student's t
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.95, 4, 2.776),
        (0.99, 5, 4.032),
        (0.90, 10, 1.812),
        (0.95, 29, 2.045),
        (0.95, 100, 1.984),
        (0.95, 10_000, 1.960),
    ],
)
def test_t_quantile_agrees_with_tables(confidence: float, degrees: int, t: float) -> None:
    assert t_quantile(confidence, degrees) == pytest.approx(t, abs=6e-4)


def test_t_quantile_is_continuous_where_the_normal_replaces_it() -> None:
    assert t_quantile(0.95, 999) == pytest.approx(t_quantile(0.95, 1000), abs=3e-3)


def test_mean_interval_equals_hand_computed_values() -> None:
    # mean 0.6, standard deviation 0.1, 5 values: 2.776 * 0.1 / sqrt(5) = 0.1242
    values = [0.6 - 0.1, 0.6 + 0.1, 0.6, 0.6 - 0.1, 0.6 + 0.1]
    assert statistics.stdev(values) == pytest.approx(0.1)
    got = mean_interval(values)
    assert got.mean == pytest.approx(0.6)
    assert got.half_width == pytest.approx(0.1242, abs=1e-4)
    assert (got.low + got.high) / 2 == pytest.approx(0.6)
    alone = mean_interval([0.5])
    assert (alone.mean, alone.low, alone.high) == (0.5, -math.inf, math.inf)
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_bootstrap_interval_agrees_with_t_on_many_values() -> None:
    values = (np.random.default_rng(0).random(400) < 0.7).astype(float).tolist()
    one, other = bootstrap_interval(values, resamples=4000), mean_interval(values)
    assert one.mean == other.mean
    assert one.low == pytest.approx(other.low, abs=5e-3)
    assert one.high == pytest.approx(other.high, abs=5e-3)
    assert one == bootstrap_interval(values, resamples=4000)  # the seed is fixed


def test_calibration_error_equals_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    random = np.random.default_rng(0)
    for classes in (2, 7):
        logits = random.normal(0, 2, (400, classes))
        rows = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        targets = random.integers(0, classes, 400)
        theirs = multiclass_calibration_error(
            torch.from_numpy(rows), torch.from_numpy(targets), classes, n_bins=15, norm="l1"
        )
        assert calibration_error(rows, targets) == pytest.approx(float(theirs), abs=1e-6)
    assert calibration_error(np.eye(3), np.arange(3)) == 0
