"""Metrics of whole-video classification. Accuracies are fractions between 0 and 1."""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.types import IndexArray

_NORMAL_FROM = 1000
"""Degrees of freedom from which the normal distribution replaces Student's t; 3 digits agree."""


def top_k_accuracy(scores: NDArray[np.floating], targets: IndexArray, k: int = 1) -> float:
    """Return the fraction of videos whose class is among the ``k`` highest scores.

    Equal scores are ranked by class index, so that constant scores are not correct for every
    class. With ``k`` >= K the result is 1.

    Args:
        scores: (N, K) logits or probabilities.
        targets: (N,) class indices.
        k: at least 1.

    Raises:
        ValueError: there is no video, the shapes do not match, a target is not a class index, a
            score is NaN, or ``k`` is below 1.
    """
    if scores.ndim != 2 or len(scores) != len(targets) or not len(scores):
        raise ValueError(f"scores {scores.shape} and targets {targets.shape} do not fit")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    if np.isnan(scores).any():
        raise ValueError("scores are not all numbers")
    _check_classes(targets, scores.shape[1])
    own = np.take_along_axis(scores, targets[:, None], axis=1)
    better = (scores > own).sum(axis=1)
    before = np.arange(scores.shape[1]) < targets[:, None]
    rank = better + ((scores == own) & before).sum(axis=1)
    return float((rank < k).mean())


def joint_top_k_accuracy(
    scores: Sequence[NDArray[np.floating]], targets: IndexArray, k: int = 1
) -> float:
    """Return the fraction of videos whose combination of classes, one of each head, is among the
    ``k`` with the highest products of scores: the action accuracy of EPIC-Kitchens.

    Equal products are ranked by class indices, those of the first head first.

    Args:
        scores: (N, Kh) probabilities of each of H heads.
        targets: (N, H) class indices.
        k: at least 1.

    Raises:
        ValueError: as :func:`top_k_accuracy`.
    """
    if targets.ndim != 2 or targets.shape[1] != len(scores):
        raise ValueError(f"targets {targets.shape} do not fit {len(scores)} heads")
    if len(scores) == 1:
        return top_k_accuracy(scores[0], targets[:, 0], k)
    hits = []
    for rows in zip(*scores, targets, strict=True):
        *parts, wanted = rows
        products = functools.reduce(np.multiply.outer, [part.astype(np.float64) for part in parts])
        place = np.ravel_multi_index(tuple(wanted), products.shape)
        hits.append(top_k_accuracy(products.reshape(1, -1), np.array([place]), k))
    if not hits:
        raise ValueError("no video to judge")
    return float(np.mean(hits))


def confusion_matrix(
    targets: IndexArray, predictions: IndexArray, num_classes: int
) -> NDArray[np.int64]:
    """Return (K, K) int64 counts; the row is the true class, the column the predicted one.

    Args:
        targets: (N,) class indices.
        predictions: (N,) class indices.
        num_classes: K.

    Raises:
        ValueError: the lengths differ, or a class lies outside ``[0, num_classes)``.
    """
    if len(targets) != len(predictions):
        raise ValueError(f"{len(targets)} targets, {len(predictions)} predictions")
    _check_classes(targets, num_classes)
    _check_classes(predictions, num_classes)
    cells = np.asarray(targets, np.int64) * num_classes + np.asarray(predictions, np.int64)
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def mean_class_accuracy(confusion: NDArray[np.int64]) -> float:
    """Return the mean over the classes that occur of the fraction of their videos that is correct.

    Args:
        confusion: (K, K) counts, row is the true class.

    Raises:
        ValueError: no class occurs.
    """
    counts = confusion.sum(axis=1)
    if not counts.any():
        raise ValueError("no video to judge")
    present = counts > 0
    return float((confusion.diagonal()[present] / counts[present]).mean())


def baseline_accuracies(confusion: NDArray[np.int64]) -> tuple[float, float]:
    """Return the accuracies, as fractions, of two baselines that ignore the video: one always
    predicts the most frequent class, the other draws from the occurring classes uniformly.

    Args:
        confusion: (K, K) counts, row is the true class.

    Raises:
        ValueError: no class occurs.
    """
    counts = confusion.sum(axis=1)
    if not counts.any():
        raise ValueError("no video to judge")
    return float(counts.max() / counts.sum()), 1 / int((counts > 0).sum())


def _check_classes(classes: IndexArray, num_classes: int) -> None:
    if len(classes) and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
        raise ValueError(f"a class lies outside [0, {num_classes})")


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """A mean with its confidence interval ``[low, high]``.

    For a single value, the t interval is infinite.
    """

    mean: float
    low: float
    high: float
    confidence: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> MeanInterval:
    """Return the mean with Student's t interval.

    It suits few, roughly normal and independent values, such as accuracies of folds or seeds.

    Raises:
        ValueError: there are no values, or the confidence is outside (0, 1).
    """
    if not values:
        raise ValueError("no values to average")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return MeanInterval(mean, -math.inf, math.inf, confidence)
    quantile = t_quantile(confidence, len(values) - 1)
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return MeanInterval(mean, mean - half, mean + half, confidence)


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, *, resamples: int = 10_000, seed: int = 0
) -> MeanInterval:
    """Return the mean with the percentile bootstrap interval.

    It suits many values of any distribution, such as 0 or 1 per video for wrong or correct. For
    fewer than about 20 values the interval is too narrow.

    Raises:
        ValueError: there are no values, or the confidence is outside (0, 1).
    """
    if not len(values) or not 0 < confidence < 1:
        raise ValueError("needs values, and a confidence between 0 and 1")
    data = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = np.array([rng.choice(data, len(data)).mean() for _ in range(resamples)])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return MeanInterval(float(data.mean()), float(low), float(high), confidence)


def t_quantile(confidence: float, degrees: int) -> float:
    """Return the t for which Student's distribution has ``confidence`` of its mass in [-t, t].

    Raises:
        ValueError: the confidence is outside (0, 1), or ``degrees`` is below 1.
    """
    if not 0 < confidence < 1 or degrees < 1:
        raise ValueError(f"no quantile for confidence {confidence}, {degrees} degrees of freedom")
    if degrees >= _NORMAL_FROM:
        return statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = 0.0, 1.0
    while _t_mass(high, degrees) < confidence:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_mass(middle, degrees) < confidence else (low, middle)
    return (low + high) / 2


def _t_mass(t: float, degrees: int) -> float:
    """Return the mass of Student's distribution in [-t, t], by the finite series of Abramowitz and
    Stegun, 26.7.3 (odd) and 26.7.4 (even degrees of freedom)."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for i in range(1 + odd, degrees - 2, 2):
        term *= i / (i + 1) * cosine**2
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def calibration_error(
    probabilities: NDArray[np.floating], targets: IndexArray, *, num_bins: int = 15
) -> float:
    """Return the expected calibration error: the mean over bins of confidence of the difference
    between accuracy and confidence, weighted by the number of videos in the bin.

    Args:
        probabilities: (N, K), rows summing to 1.
        targets: (N,) class indices.
        num_bins: number of equal bins of [0, 1].

    Raises:
        ValueError: there are no videos, the shapes do not match, or a value is outside [0, 1].
    """
    if probabilities.ndim != 2 or len(probabilities) != len(targets) or not len(targets):
        raise ValueError(f"probabilities {probabilities.shape}, targets {targets.shape}")
    if not ((probabilities >= 0) & (probabilities <= 1 + 1e-6)).all():
        raise ValueError("probabilities lie between 0 and 1")
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == targets
    bins = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    gaps = np.bincount(bins, weights=right - confidence, minlength=num_bins)
    return float(np.abs(gaps).sum() / counts.sum())
