"""Losses on the heads' logits, and class weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vtnstream.config import OptimConfig
from vtnstream.models.vtn.model import StagedOutput, VTNOutput
from vtnstream.training.accelerator import Engine
from vtnstream.training.data.batches import Batch
from vtnstream.training.data.targets import IGNORE
from vtnstream.types import IndexArray


def balanced_weights(counts: IndexArray, power: float = 1.0) -> Tensor:
    """Weight of each class, the inverse of its frequency with mean 1 over the samples;
    classes without a sample get 0.

    Args:
        counts: (K,) samples or tokens of each class.
        power: of the inverse frequency; 1/2 is between equal classes and equal samples.

    Returns:
        (K,) float32.
    """
    present = counts > 0
    weights = np.zeros(len(counts), np.float64)
    weights[present] = (counts.sum() / counts[present]) ** power
    weights /= (weights * counts).sum() / max(counts.sum(), 1)
    return torch.from_numpy(weights).float()


def head_loss(
    output: VTNOutput | StagedOutput,
    batch: Batch,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    soft_labels: Tensor | None = None,
    steadiness: float = 0.0,
    engine: Engine | None = None,
) -> Tensor:
    """Cross-entropy of the heads the batch has targets for, their sum where it has both; a
    scalar. Each stage of a ``tcn`` has the dense head's losses.

    Args:
        output: the model's.
        batch: with ``labels``, ``targets`` or both.
        class_weights: (K,) of the dense head, or of the MLP head where there is no other.
        label_smoothing: share of the target spread over all classes.
        soft_labels: (B, K) in place of the batch's labels (mixup).
        steadiness: share of :func:`unsteadiness` that is added for the dense head.
        engine: where several processes work on one batch, each gets its share of the mean
            over all of it (times their number, as gradients are averaged).
    """
    losses = []
    if batch.targets is not None:
        assert output.dense_logits is not None
        stages = output.stages if isinstance(output, StagedOutput) else ()
        for logits in (*stages, output.dense_logits):
            losses += _dense_losses(
                logits, batch, class_weights, label_smoothing, steadiness, engine
            )
    target = batch.labels if soft_labels is None else soft_labels
    if target is not None:
        assert output.logits is not None
        weight = class_weights if batch.targets is None else None
        loss = functional.cross_entropy(
            output.logits, target, weight=weight, label_smoothing=label_smoothing
        )
        mass = _mass(target, weight) if soft_labels is None else loss.new_tensor(len(target))
        losses.append(_of_all(loss, mass, batch, engine))
    return torch.stack(losses).sum()


def _dense_losses(
    logits: Tensor,
    batch: Batch,
    class_weights: Tensor | None,
    label_smoothing: float,
    steadiness: float,
    engine: Engine | None,
) -> list[Tensor]:
    """Of logits (B, T, K); arguments as in :func:`head_loss`."""
    assert batch.targets is not None
    targets = batch.targets.flatten()
    loss = functional.cross_entropy(
        logits.flatten(0, 1),  # (B*T, K)
        targets,
        weight=class_weights,
        label_smoothing=label_smoothing,
        ignore_index=IGNORE,
    )
    mass = _mass(targets, class_weights)
    if engine is None and float(mass) == 0:  # no token of these crops has a label
        loss = torch.nan_to_num(loss) * 0.0
    losses = [_of_all(loss, mass, batch, engine)]
    if steadiness:
        seen = _neighbours(batch)
        loss = steadiness * unsteadiness(logits, seen)
        losses.append(_of_all(loss, seen.sum().float(), batch, engine))
    return losses


def batch_loss(
    output: VTNOutput | StagedOutput,
    batch: Batch,
    optim: OptimConfig,
    *,
    class_weights: Tensor | None,
    soft_labels: Tensor | None,
    engine: Engine,
) -> Tensor:
    """:func:`head_loss` as the config has it."""
    return head_loss(
        output,
        batch,
        class_weights=class_weights,
        label_smoothing=optim.label_smoothing,
        soft_labels=soft_labels,
        steadiness=optim.steadiness,
        engine=engine if engine.count > 1 or not batch.counts else None,
    )


def _mass(targets: Tensor, weight: Tensor | None) -> Tensor:
    """What a mean loss was divided by."""
    real = targets[targets != IGNORE]
    return torch.ones_like(real).sum().float() if weight is None else weight[real].sum()


def _of_all(loss: Tensor, mass: Tensor, batch: Batch, engine: Engine | None) -> Tensor:
    """A mean over this process's part as its share of the mean over all parts."""
    if engine is None:
        return loss
    mass = mass if batch.counts else torch.zeros_like(mass)
    whole = engine.sum(mass.detach().clone())
    if float(mass) == 0:  # nothing real in this part: a mean of nothing is no number
        return torch.nan_to_num(loss) * 0.0
    return loss * (engine.count * mass / whole)


def unsteadiness(logits: Tensor, seen: Tensor) -> Tensor:
    """Mean squared step of the log-probabilities from token to token, each at most 4 (MS-TCN's
    truncated loss against over-segmentation, Farha and Gall 2019): a scalar.

    Args:
        logits: (B, T, K) of the dense head.
        seen: (B, T - 1) bool, whether both tokens of a step are real.
    """
    log = logits.log_softmax(-1)
    steps = (log[:, 1:] - log[:, :-1].detach()).clamp(-4, 4) ** 2  # (B, T - 1, K)
    return steps[seen].mean() if bool(seen.any()) else steps.sum() * 0.0


def _neighbours(batch: Batch) -> Tensor:
    """(B, T - 1) bool: a token and the next are both real."""
    assert batch.targets is not None
    if batch.padding_mask is None:
        return torch.ones_like(batch.targets[:, 1:], dtype=torch.bool)
    return batch.padding_mask[:, 1:] & batch.padding_mask[:, :-1]
