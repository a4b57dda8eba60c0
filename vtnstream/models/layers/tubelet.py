"""Tubelet embedding, initialised from an image model (Arnab et al. 2021, sections 3.2 and 3.4).

A tubelet is t frames of one patch. With t = 1 and frames spread evenly over a clip this is the
paper's uniform frame sampling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtnstream.errors import ModelError


class TubeletEmbedding(nn.Module):
    """A 3-D convolution whose stride equals its kernel: (t, h, w) pixels become one token.

    ``proj`` has the name that it has in timm's patch embedding, which this module replaces.
    """

    def __init__(self, image: nn.Conv2d, num_frames: int, init: str) -> None:
        """Inflate the patch embedding of an image model.

        Args:
            image: the patch embedding of an image ViT.
            num_frames: t.
            init: see :func:`inflate_kernel`.
        """
        super().__init__()
        height, width = image.kernel_size
        size = (num_frames, height, width)
        self.proj = nn.Conv3d(
            image.in_channels,
            image.out_channels,
            kernel_size=size,
            stride=size,
            bias=image.bias is not None,
            device=image.weight.device,
            dtype=image.weight.dtype,
        )
        with torch.no_grad():
            self.proj.weight.copy_(inflate_kernel(image.weight, num_frames, init))
            if self.proj.bias is not None and image.bias is not None:
                self.proj.bias.copy_(image.bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed each tubelet.

        Args:
            frames: (B, F, 3, H, W); t divides F, h divides H and w divides W.

        Returns:
            (B, F / t, P, D), P = H / h * W / w patches row by row.

        Raises:
            ModelError: the frames do not divide into tubelets.
        """
        size = tuple(self.proj.kernel_size)
        shape = (frames.shape[1], *frames.shape[3:])
        if any(have % want for have, want in zip(shape, size, strict=True)):
            raise ModelError(f"{shape} frames and pixels do not divide into tubelets of {size}")
        tokens: Tensor = self.proj(frames.transpose(1, 2))  # (B, D, F/t, H/h, W/w)
        return tokens.flatten(3).permute(0, 2, 3, 1)


def inflate_kernel(image: Tensor, num_frames: int, init: str) -> Tensor:
    """Extend an image kernel to t frames; on t equal frames it has the output of the image
    kernel on one.

    Args:
        image: (D, 3, h, w).
        num_frames: t.
        init: ``central-frame`` puts the image kernel at frame t // 2 and zeros elsewhere, so that
            training starts from the image model on single frames; ``average`` puts it at every
            frame, divided by t (filter inflation).

    Returns:
        (D, 3, t, h, w).
    """
    spread = image[:, :, None].expand(-1, -1, num_frames, -1, -1)
    if init == "average":
        return spread / num_frames
    central = torch.zeros(num_frames, dtype=image.dtype, device=image.device)
    central[num_frames // 2] = 1
    return spread * central[:, None, None]


def inflate_positions(image: Tensor, num_prefix: int, num_tubelets: int) -> Tensor:
    """Repeat the position embeddings of an image model for every tubelet index.

    Args:
        image: (1, prefix + P, D).
        num_prefix: rows of [CLS] and other tokens without a place, which are not repeated.
        num_tubelets: T.

    Returns:
        (1, prefix + T * P, D).
    """
    prefix, patches = image[:, :num_prefix], image[:, num_prefix:]
    return torch.cat((prefix, patches.repeat(1, num_tubelets, 1)), dim=1)
