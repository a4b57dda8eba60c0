"""Losses of the heads, and class weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    """Return the weight of each class: the inverse of its frequency, with mean 1 over the samples.

    Classes without a sample have weight 0.

    Args:
        counts: (K,) number of samples or tokens of each class.
        power: exponent of the inverse frequency; 1/2 lies between equal classes and equal samples.

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
    class_sizes: Sequence[int] = (),
    temporal_smoothing: float = 0.0,
    engine: Engine | None = None,
) -> Tensor:
    """Return the sum of the cross-entropies of the heads for which the batch has targets, a scalar.

    Each stage of a ``tcn`` adds the losses of the dense head, each of several class heads its own.

    Args:
        output: output of the model.
        batch: with ``labels``, ``targets`` or both.
        class_weights: (K,) for the dense head, or for the MLP head if there is no dense head.
        label_smoothing: share of the target that is spread over all classes.
        soft_labels: (B, K) labels that replace those of the batch (mixup).
        class_sizes: number of classes of each class head if there are several.
        temporal_smoothing: weight of :func:`smoothing_loss` in the loss of the dense head.
        engine: processes that share the batch. The loss is then scaled such that the mean of the
            gradients over the processes equals the gradient for the whole batch.
    """
    losses = []
    if batch.targets is not None:
        assert output.dense_logits is not None
        stages = output.stages if isinstance(output, StagedOutput) else ()
        for logits in (*stages, output.dense_logits):
            losses += _dense_losses(
                logits, batch, class_weights, label_smoothing, temporal_smoothing, engine
            )
    target = batch.labels if soft_labels is None else soft_labels
    if target is not None:
        assert output.logits is not None
        weight = class_weights if batch.targets is None else None
        for logits, wanted, own in _by_head(output.logits, target, weight, class_sizes):
            loss = functional.cross_entropy(
                logits, wanted, weight=own, label_smoothing=label_smoothing
            )
            mass = _mass(wanted, own) if soft_labels is None else loss.new_tensor(len(wanted))
            losses.append(_share_of_mean(loss, mass, batch, engine))
    return torch.stack(losses).sum()


def _by_head(
    logits: Tensor, target: Tensor, weight: Tensor | None, sizes: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yield logits (B, Kh), targets (B,) or (B, Kh), and class weights (Kh,) of each class head.

    Args:
        logits: (B, K).
        target: (B,) classes, (B, H) columns of the logits, or (B, K) soft labels.
        weight: (K,) class weights.
        sizes: H numbers Kh; none or one for a single head.
    """
    if len(sizes) < 2:
        yield logits, target, weight
        return
    start = 0
    for number, size in enumerate(sizes):
        columns = slice(start, start + size)
        wanted = target[:, columns] if target.is_floating_point() else target[:, number] - start
        yield logits[:, columns], wanted, None if weight is None else weight[columns]
        start += size


def _dense_losses(
    logits: Tensor,
    batch: Batch,
    class_weights: Tensor | None,
    label_smoothing: float,
    temporal_smoothing: float,
    engine: Engine | None,
) -> list[Tensor]:
    """Return the losses of dense logits (B, T, K); the arguments are those of :func:`head_loss`."""
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
    losses = [_share_of_mean(loss, mass, batch, engine)]
    if temporal_smoothing:
        seen = _neighbours(batch)
        loss = temporal_smoothing * smoothing_loss(logits, seen)
        losses.append(_share_of_mean(loss, seen.sum().float(), batch, engine))
    return losses


def batch_loss(
    output: VTNOutput | StagedOutput,
    batch: Batch,
    optim: OptimConfig,
    *,
    class_weights: Tensor | None,
    soft_labels: Tensor | None,
    class_sizes: Sequence[int],
    engine: Engine,
) -> Tensor:
    """Return :func:`head_loss` with the settings of the config."""
    return head_loss(
        output,
        batch,
        class_weights=class_weights,
        label_smoothing=optim.label_smoothing,
        soft_labels=soft_labels,
        class_sizes=class_sizes,
        temporal_smoothing=optim.temporal_smoothing,
        engine=engine if engine.count > 1 or not batch.counts else None,
    )


def _mass(targets: Tensor, weight: Tensor | None) -> Tensor:
    """Return the total weight over which a mean loss was taken."""
    real = targets[targets != IGNORE]
    return torch.ones_like(real).sum().float() if weight is None else weight[real].sum()


def _share_of_mean(loss: Tensor, mass: Tensor, batch: Batch, engine: Engine | None) -> Tensor:
    """Scale the mean loss of this process's part, so that the mean over the processes is the mean
    over the whole batch."""
    if engine is None:
        return loss
    mass = mass if batch.counts else torch.zeros_like(mass)
    whole = engine.sum(mass.detach().clone())
    if float(mass) == 0:  # no labelled token in this part: its mean is NaN
        return torch.nan_to_num(loss) * 0.0
    return loss * (engine.count * mass / whole)


def smoothing_loss(logits: Tensor, seen: Tensor) -> Tensor:
    """Return the mean squared difference of the log-probabilities of consecutive tokens, a scalar.

    Differences are truncated at 4: this is MS-TCN's loss against over-segmentation (Farha and
    Gall 2019).

    Args:
        logits: (B, T, K) of the dense head.
        seen: (B, T - 1) bool, whether both tokens of a pair are real.
    """
    log = logits.log_softmax(-1)
    steps = (log[:, 1:] - log[:, :-1].detach()).clamp(-4, 4) ** 2  # (B, T - 1, K)
    return steps[seen].mean() if bool(seen.any()) else steps.sum() * 0.0


def _neighbours(batch: Batch) -> Tensor:
    """Return (B, T - 1) bool: whether a token and the next one are both real."""
    assert batch.targets is not None
    if batch.padding_mask is None:
        return torch.ones_like(batch.targets[:, 1:], dtype=torch.bool)
    return batch.padding_mask[:, 1:] & batch.padding_mask[:, :-1]
