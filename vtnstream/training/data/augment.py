"""Augment clips: one random change per clip, the same for all of its frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vtnstream.config import PreprocessConfig
from vtnstream.config.train import AugmentConfig


@dataclass(frozen=True, slots=True)
class ClipChange:
    """The random change of one clip.

    Attributes:
        mirrored: whether frames are flipped horizontally.
        upside_down: whether frames are flipped vertically.
        channels: new order of red, green and blue, or None.
        box: side of the crop as a share of the frame's short side, and horizontal and vertical
            position of the crop between 0 and 1; None keeps whole frames.
        size: height and width to which the crop is scaled.
        strong: seed of the colour, RandAugment and erasing changes, or None.
        config: settings of the augmentation.
    """

    mirrored: bool
    upside_down: bool
    channels: tuple[int, ...] | None
    box: tuple[float, float, float] | None
    size: tuple[int, int]
    strong: int | None
    config: AugmentConfig

    def __call__(self, clip: Tensor) -> Tensor:
        """Change a clip (T, H, W, 3) uint8; with a crop the result is (T, size, size, 3)."""
        if self.box is not None:
            clip = _cropped(clip, self.box, self.size)
        if self.mirrored:
            clip = clip.flip(2)
        if self.upside_down:
            clip = clip.flip(1)
        if self.channels is not None:
            clip = clip[..., torch.tensor(self.channels)]
        if self.strong is not None:
            clip = _strong(clip, self.config, self.strong)
        return clip


def draw_change(
    config: AugmentConfig, preprocess: PreprocessConfig, generator: np.random.Generator
) -> ClipChange:
    """Draw the change of one clip.

    Args:
        config: possible changes and their probabilities.
        preprocess: preprocessing of the model, which gives the size of crops.
        generator: random generator.
    """
    mirrored = generator.random() < config.horizontal_flip
    upside_down = generator.random() < config.vertical_flip
    channels = None
    if generator.random() < config.permute_channels:
        channels = tuple(int(channel) for channel in generator.permutation(3))
    box = None
    if config.short_side:
        side = generator.uniform(*config.short_side)
        corner = (float(generator.random()), float(generator.random()))
        box = (preprocess.size / float(side), *corner)
    strong = int(generator.integers(2**31)) if config.is_strong else None
    size = (preprocess.size, preprocess.frame_width)
    return ClipChange(mirrored, upside_down, channels, box, size, strong, config)


def augment_clips(frames: Tensor, config: AugmentConfig, generator: np.random.Generator) -> Tensor:
    """Change each clip of a batch independently, and all frames of a clip alike.

    Args:
        frames: (B, T, H, W, 3) uint8.
        config: possible changes and their probabilities.
        generator: random generator.

    Returns:
        The changed clips, with the same shape and type.
    """
    size = PreprocessConfig(size=frames.shape[2], resize=frames.shape[2])
    return torch.stack([draw_change(config, size, generator)(clip) for clip in frames])


def _cropped(clip: Tensor, box: tuple[float, float, float], size: tuple[int, int]) -> Tensor:
    """Apply scaling and crop in one step: scaling a frame of short side s to S and cropping to the
    model's size equals cropping to s x size / S and scaling the result."""
    from torchvision.transforms.v2 import functional

    share, across, down = box
    height, width = clip.shape[1:3]
    rows = max(min(round(share * min(height, width)), height, width), 1)
    left, top = round(across * (width - rows)), round(down * (height - rows))
    part = clip[:, top : top + rows, left : left + rows].permute(0, 3, 1, 2)  # (T, 3, r, r)
    scaled: Tensor = functional.resize(part, list(size), antialias=True)
    return scaled.permute(0, 2, 3, 1)


def _strong(clip: Tensor, config: AugmentConfig, seed: int) -> Tensor:
    """Apply RandAugment, colour changes and erasing of torchvision.

    torchvision draws once for a stack of frames; some of these transforms silently ignore its
    ``Video`` type.
    """
    from torchvision.transforms import v2

    steps: list[torch.nn.Module] = []
    if config.colour_jitter:
        strength = config.colour_jitter
        steps.append(v2.ColorJitter(strength, strength, strength, min(strength / 4, 0.5)))
    if config.grey:
        steps.append(v2.RandomGrayscale(config.grey))
    if config.rand_augment:
        operations, magnitude = config.rand_augment
        steps.append(v2.RandAugment(operations, magnitude))
    if config.erasing:
        steps.append(v2.RandomErasing(config.erasing))
    pictures = clip.permute(0, 3, 1, 2).contiguous()  # (T, 3, H, W)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for step in steps:
            pictures = step(pictures)
    return pictures.permute(0, 2, 3, 1)
