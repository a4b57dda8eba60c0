"""Mixup and CutMix of a batch, for the class of whole sequences only: mixing moments would
make nonsense of dense labels."""

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
    """Mix as the config says; with both kinds each batch draws one.

    Returns:
        the batch, and its (B, K) soft labels where it was mixed.
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

    A pair of different lengths is as long as its longer part, whose positions it keeps, so
    the tail holds one of the two alone.

    Args:
        batch: with labels; frames become float32.
        num_classes: K.
        alpha: of the Beta distribution the shares are drawn from.
        generator: of shares and pairs.

    Returns:
        the mixed batch, and its (B, K) soft labels.
    """
    order = torch.from_numpy(generator.permutation(len(batch.inputs))).to(batch.inputs.device)
    share = float(generator.beta(alpha, alpha))
    inputs = batch.inputs if batch.inputs.is_floating_point() else batch.inputs.float()
    mixed = share * inputs + (1 - share) * inputs[order]
    return _paired(batch, mixed, order), _soft(batch, num_classes, share, order)


def cutmix(
    batch: Batch, num_classes: int, alpha: float, generator: np.random.Generator
) -> tuple[Batch, Tensor]:
    """Put a box of another clip of the batch into each, the same box in all frames (Yun et al.
    2019); labels are mixed by area.

    Args:
        batch: (B, T, H, W, 3) frames with labels.
        num_classes: K.
        alpha: of the Beta distribution that the area left is drawn from.
        generator: of area, place and pairs.

    Returns:
        the mixed batch, and its (B, K) soft labels.
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
    """As long as the longer of each pair, and with its positions."""
    mask, indices = batch.padding_mask, batch.indices
    if mask is not None:
        other = mask[order]
        longer = other.sum(1, keepdim=True) > mask.sum(1, keepdim=True)
        indices = torch.where(longer, indices[order], indices)
        mask = mask | other
    return replace(batch, inputs=mixed, indices=indices, padding_mask=mask)


def _soft(batch: Batch, num_classes: int, share: float, order: Tensor) -> Tensor:
    assert batch.labels is not None
    hot = functional.one_hot(batch.labels, num_classes).float()
    return share * hot + (1 - share) * hot[order]
