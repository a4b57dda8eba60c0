"""Losses on the heads' logits, class weights and mixup of stored features."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vtnstream.models.vtn import VTNOutput
from vtnstream.training.batches import Batch
from vtnstream.training.targets import IGNORE
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
    output: VTNOutput,
    batch: Batch,
    *,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
    soft_labels: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of the heads the batch has targets for, their sum where it has both; a
    scalar.

    Args:
        output: the model's.
        batch: with ``labels``, ``targets`` or both.
        class_weights: (K,) of the dense head, or of the MLP head where there is no other.
        label_smoothing: share of the target spread over all classes.
        soft_labels: (B, K) in place of the batch's labels (mixup).
    """
    losses = []
    if batch.targets is not None:
        assert output.dense_logits is not None
        losses.append(
            functional.cross_entropy(
                output.dense_logits.flatten(0, 1),  # (B*T, K)
                batch.targets.flatten(),
                weight=class_weights,
                label_smoothing=label_smoothing,
                ignore_index=IGNORE,
            )
        )
    target = batch.labels if soft_labels is None else soft_labels
    if target is not None:
        assert output.logits is not None
        weight = class_weights if batch.targets is None else None
        losses.append(
            functional.cross_entropy(
                output.logits, target, weight=weight, label_smoothing=label_smoothing
            )
        )
    return torch.stack(losses).sum()


def mixup(
    batch: Batch, num_classes: int, alpha: float, generator: np.random.Generator
) -> tuple[Batch, Tensor]:
    """Mix each sequence with another of the batch, token by token (Zhang et al. 2018).

    Only for the class of a whole sequence: mixing moments would make nonsense of dense
    labels. A pair of different lengths is as long as its longer part, whose positions it
    keeps, so the tail holds one of the two alone.

    Args:
        batch: with labels.
        num_classes: K.
        alpha: of the Beta distribution the shares are drawn from.
        generator: of shares and pairs.

    Returns:
        the mixed batch, and its (B, K) soft labels.
    """
    assert batch.labels is not None
    inputs = batch.inputs
    order = torch.from_numpy(generator.permutation(len(inputs))).to(inputs.device)
    share = float(generator.beta(alpha, alpha))
    hot = functional.one_hot(batch.labels, num_classes).to(inputs.dtype)
    mask, indices = batch.padding_mask, batch.indices
    if mask is not None:
        other = mask[order]
        longer = other.sum(1, keepdim=True) > mask.sum(1, keepdim=True)
        indices = torch.where(longer, indices[order], indices)
        mask = mask | other
    mixed = Batch(
        share * inputs + (1 - share) * inputs[order],
        indices,
        mask,
        batch.labels,
        batch.targets,
    )
    return mixed, share * hot + (1 - share) * hot[order]
