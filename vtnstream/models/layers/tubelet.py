"""From frames to tokens, and an image model's weights for it (Arnab et al. 2021, sections 3.2
and 3.4).

A tubelet is t frames of one patch; t = 1 gives patches of single frames, which with frames
spread evenly over a clip is the paper's uniform frame sampling.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtnstream.errors import ModelError


class TubeletEmbedding(nn.Module):
    """A 3-D convolution whose stride is its kernel: (t, h, w) pixels become one token.

    ``proj`` is named as in timm's patch embedding, of which it takes the place.
    """

    def __init__(self, image: nn.Conv2d, num_frames: int, init: str) -> None:
        """
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
        """
        Args:
            frames: (B, F, 3, H, W), F a multiple of t, H and W of h and w.

        Returns:
            (B, F / t, P, D), P = H / h * W / w in rows.

        Raises:
            ModelError: the frames are no whole tubelets.
        """
        size = tuple(self.proj.kernel_size)
        shape = (frames.shape[1], *frames.shape[3:])
        if any(have % want for have, want in zip(shape, size, strict=True)):
            raise ModelError(f"{shape} frames and pixels are no whole tubelets of {size}")
        tokens: Tensor = self.proj(frames.transpose(1, 2))  # (B, D, F/t, H/h, W/w)
        return tokens.flatten(3).permute(0, 2, 3, 1)


def inflate_kernel(image: Tensor, num_frames: int, init: str) -> Tensor:
    """A kernel over t frames that gives on a still clip what the image kernel gives on its
    frame.

    Args:
        image: (D, 3, h, w).
        num_frames: t.
        init: ``central-frame``: all of it at frame t // 2, zero elsewhere, so that training
            starts from the image model on single frames; ``average``: the same at every
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
    """An image model's position embeddings repeated for every tubelet index.

    Args:
        image: (1, prefix + P, D).
        num_prefix: rows of [CLS] and the like, which have no place and are not repeated.
        num_tubelets: T.

    Returns:
        (1, prefix + T * P, D).
    """
    prefix, patches = image[:, :num_prefix], image[:, num_prefix:]
    return torch.cat((prefix, patches.repeat(1, num_tubelets, 1)), dim=1)
