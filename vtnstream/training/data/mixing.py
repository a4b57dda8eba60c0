"""Mixup and CutMix of a batch, for classification of whole sequences only.

Dense labels of mixed sequences would be meaningless.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vtnstream.config import OptimConfig
from vtnstream.training.data.batches import Batch


def mix_batch(
    batch: Batch, num_classes: int, optim: OptimConfig, generator: np.random.Generator
) -> tuple[Batch, Tensor | None]:
    """Mix a batch as configured; if mixup and CutMix are both on, each batch uses one at random.

    Returns:
        The batch, and its (B, K) soft labels if it was mixed, else None.
    """
    if batch.labels is None or batch.targets is not None:
        return batch, None
    cuts = bool(optim.cutmix)
    if cuts and optim.mixup:
        cuts = generator.random() < 0.5
    if cuts:
        return cutmix(batch, num_classes, optim.cutmix, generator)
    if optim.mixup:
        return mixup(batch, num_classes, optim.mixup, generator)
    return batch, None


def mixup(
    batch: Batch, num_classes: int, alpha: float, generator: np.random.Generator
) -> tuple[Batch, Tensor]:
    """Mix each sequence with another of the batch, token by token (Zhang et al. 2018).

    A mixed pair has the length and the positions of its longer sequence, whose end is mixed with
    padding.

    Args:
        batch: batch with labels; frames are converted to float32.
        num_classes: K.
        alpha: parameter of the Beta distribution of the shares.
        generator: random generator for shares and pairs.

    Returns:
        The mixed batch, and its (B, K) soft labels, which sum to 1 over the classes of each head.
    """
    order = torch.from_numpy(generator.permutation(len(batch.inputs))).to(batch.inputs.device)
    share = float(generator.beta(alpha, alpha))
    inputs = batch.inputs if batch.inputs.is_floating_point() else batch.inputs.float()
    mixed = share * inputs + (1 - share) * inputs[order]
    return _paired(batch, mixed, order), _soft(batch, num_classes, share, order)


def cutmix(
    batch: Batch, num_classes: int, alpha: float, generator: np.random.Generator
) -> tuple[Batch, Tensor]:
    """Replace a box in each clip with that of another clip, the same in all frames (Yun et al.
    2019).

    Labels are mixed by area.

    Args:
        batch: (B, T, H, W, 3) frames with labels.
        num_classes: K.
        alpha: parameter of the Beta distribution of the remaining area.
        generator: random generator for area, position and pairs.

    Returns:
        The mixed batch, and its (B, K) soft labels.
    """
    order = torch.from_numpy(generator.permutation(len(batch.inputs))).to(batch.inputs.device)
    height, width = batch.inputs.shape[2:4]
    side = float(np.sqrt(1 - generator.beta(alpha, alpha)))
    rows, columns = round(height * side), round(width * side)
    middle = (generator.integers(height), generator.integers(width))
    top, bottom = np.clip((middle[0] - rows // 2, middle[0] - rows // 2 + rows), 0, height)
    left, right = np.clip((middle[1] - columns // 2, middle[1] - columns // 2 + columns), 0, width)
    mixed = batch.inputs.clone()
    mixed[:, :, top:bottom, left:right] = batch.inputs[order][:, :, top:bottom, left:right]
    share = 1 - float((bottom - top) * (right - left)) / (height * width)
    return _paired(batch, mixed, order), _soft(batch, num_classes, share, order)


def _paired(batch: Batch, mixed: Tensor, order: Tensor) -> Batch:
    """Return a batch in which each mixed sequence has length and positions of its longer part."""
    mask, indices = batch.padding_mask, batch.indices
    if mask is not None:
        other = mask[order]
        longer = other.sum(1, keepdim=True) > mask.sum(1, keepdim=True)
        indices = torch.where(longer, indices[order], indices)
        mask = mask | other
    return replace(batch, inputs=mixed, indices=indices, padding_mask=mask)


def _soft(batch: Batch, num_classes: int, share: float, order: Tensor) -> Tensor:
    assert batch.labels is not None
    columns = batch.labels.reshape(len(batch.labels), -1)  # (B, H), one of each class head
    hot = functional.one_hot(columns, num_classes).sum(1).float()  # (B, K)
    return share * hot + (1 - share) * hot[order]
