"""Changes to the pictures of a clip that keep its meaning, one draw for all of its frames."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from vtnstream.config.train import AugmentConfig


def augment_clips(frames: Tensor, config: AugmentConfig, generator: np.random.Generator) -> Tensor:
    """Each clip of a batch changed in its own way, all frames of a clip alike.

    Args:
        frames: (B, T, H, W, 3) uint8.
        config: what may be done, and how often.
        generator: of the draws.

    Returns:
        the same shape and type.
    """
    return torch.stack([_augmented(clip, config, generator) for clip in frames])


def _augmented(clip: Tensor, config: AugmentConfig, generator: np.random.Generator) -> Tensor:
    if generator.random() < config.horizontal_flip:
        clip = clip.flip(2)
    if generator.random() < config.vertical_flip:
        clip = clip.flip(1)
    if generator.random() < config.permute_channels:
        clip = clip[..., torch.from_numpy(generator.permutation(3))]
    return clip
