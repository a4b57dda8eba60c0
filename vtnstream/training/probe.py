"""Linear probe: logistic regression on the mean feature of a video.

This baseline shows how well a task can be solved without the sequence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from vtnstream.training.data.features import BLOCK
from vtnstream.types import FeatureSequence, IndexArray

Matrix = NDArray[np.float64]


def mean_pool(features: FeatureSequence) -> NDArray[np.float64]:
    """Return the (D,) mean feature of a video."""
    total = np.zeros(features.num_features, np.float64)
    for block in features.blocks(BLOCK):
        total += block.sum(axis=0, dtype=np.float64)
    return total / max(len(features.times), 1)


@dataclass(frozen=True, slots=True, eq=False)
class LinearProbe:
    """Linear classifier of standardised features.

    Attributes:
        mean: (D,) mean over the training set.
        std: (D,) standard deviation over the training set.
        weight: (K, D).
        bias: (K,).
    """

    mean: Matrix
    std: Matrix
    weight: Matrix
    bias: Matrix

    def logits(self, values: Matrix) -> Matrix:
        """Return the logits (N, K) of features (N, D)."""
        result: Matrix = ((values - self.mean) / self.std) @ self.weight.T + self.bias
        return result

    def accuracy(self, values: Matrix, labels: IndexArray) -> float:
        """Return the percentage of videos (N, D) whose class (N,) is predicted."""
        return 100.0 * float((self.logits(values).argmax(1) == labels).mean())


def fit_probe(
    values: Matrix, labels: IndexArray, num_classes: int, *, penalty: float = 1.0
) -> LinearProbe:
    """Fit a multinomial logistic regression: sum of cross-entropies + ``penalty`` / 2 |W|^2.

    ``penalty`` is 1 / ``C`` of scikit-learn. L-BFGS runs to convergence and is not random.

    Args:
        values: (N, D) pooled features.
        labels: (N,) class indices.
        num_classes: K.
        penalty: weight of the L2 term, which excludes the bias.
    """
    mean, std = values.mean(0), values.std(0)
    std = np.where(std > 1e-9, std, 1.0)
    inputs = torch.from_numpy((values - mean) / std)  # (N, D) float64
    targets = torch.from_numpy(labels)
    weight = torch.zeros(num_classes, values.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=1000, tolerance_grad=1e-7, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        logits = inputs @ weight.T + bias  # (N, K)
        loss = functional.cross_entropy(logits, targets, reduction="sum")
        loss = loss + penalty / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return LinearProbe(mean, std, weight.detach().numpy(), bias.detach().numpy())
