"""Fit linear models of token inputs to their optimum (logistic regression, L-BFGS)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.tcn import TcnHead
from vtnstream.training.data.batches import Crop, read_crop
from vtnstream.training.data.targets import IGNORE, Sample

PENALTY = 30.0
"""Weight of half the squared weights beside the sum of cross-entropies."""

MOST_ROWS = 30_000
"""Largest number of training tokens; of more, so many are drawn at random."""

MOST_STEPS = 60


def solve_linear(model: VTN, samples: Sequence[Sample], seed: int) -> float:
    """Set the weights of a ``tcn`` without layers, and return the mean cross-entropy.

    Args:
        model: a model whose only weights are those of one linear head.
        samples: normalised samples with targets or labels.
        seed: draws tokens if there are too many.
    """
    dense = samples[0].targets is not None
    rows, classes = [], []
    for sample in samples:
        inputs = read_crop(Crop(sample, 0, len(sample)), model.token_inputs)  # (T, E)
        if dense:
            assert sample.targets is not None
            known = np.flatnonzero(sample.targets != IGNORE)
            rows.append(inputs[torch.from_numpy(known)])
            classes.append(torch.from_numpy(sample.targets[known]))
        else:
            rows.append(inputs.mean(0, keepdim=True))
            classes.append(torch.tensor([sample.label]))
    values, targets = torch.cat(rows).float(), torch.cat(classes)
    if len(values) > MOST_ROWS:
        chosen = np.random.default_rng(seed).choice(len(values), MOST_ROWS, replace=False)
        values, targets = values[torch.from_numpy(chosen)], targets[torch.from_numpy(chosen)]
    head = model.config.head
    count = len(head.dense_labels if dense else head.labels)
    weight, bias, loss = _solve(values, targets, count)
    with torch.no_grad():
        model.cls_token.zero_()
        if dense:
            assert isinstance(model.dense_head, TcnHead)
            model.dense_head.first.weight[0].copy_(weight)
            model.dense_head.first.bias[0].copy_(bias)
        else:
            assert model.mlp_head is not None
            linear = model.mlp_head[0]
            assert isinstance(linear, torch.nn.Linear)
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
    return loss


def _solve(values: Tensor, targets: Tensor, num_classes: int) -> tuple[Tensor, Tensor, float]:
    """Return weight (K, E), bias (K,) and mean cross-entropy for values (N, E) and targets (N,)."""
    weight = torch.zeros(num_classes, values.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=MOST_STEPS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(values @ weight.T + bias, targets, reduction="sum")
        loss = loss + PENALTY / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        loss = functional.cross_entropy(values @ weight.T + bias, targets)
    return weight.detach(), bias.detach(), float(loss)
