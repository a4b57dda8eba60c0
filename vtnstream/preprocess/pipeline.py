"""Decoded frames to model inputs: scale to [0, 1], normalise, channels first."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vtnstream.config import PreprocessConfig


class Normalize(nn.Module):
    """``(x / 255 - mean) / std``, worked in float32 where the pixels are.

    Geometry is not its business: frames arrive scaled and cropped from the decoder
    (:func:`vtnstream.preprocess.spatial.frame_fit`).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: PreprocessConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (T, H, W, 3) uint8 to (T, 3, H, W) float32, channels last in memory as they
        came: no byte is moved to another place, and convolutions like it best."""
        scaled = pixels.permute(0, 3, 1, 2).to(torch.float32)  # (T, 3, H, W)
        return scaled.div_(255).sub_(self.mean).div_(self.std)


class Preprocess:
    """:class:`Normalize` for arrays."""

    def __init__(self, config: PreprocessConfig) -> None:
        self.config = config
        self._normalize = Normalize(config)

    def __call__(
        self,
        frames: NDArray[np.uint8],
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """
        Args:
            frames: (T, H, W, 3) uint8 RGB.
            device: where the backbone is; bytes are sent there, not floats.
            dtype: what the backbone computes in.

        Returns:
            (T, 3, H, W) of ``dtype``.

        Raises:
            ValueError: the frames have another shape or type.
        """
        self._normalize.to(device)
        normal: Tensor = self._normalize(pixels_of(frames).to(device))
        return normal.to(dtype)


def pixels_of(frames: NDArray[np.uint8]) -> Tensor:
    """Frames as a tensor that shares their memory where it can.

    Raises:
        ValueError: they are not uint8 (T, H, W, 3).
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames: expected uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}")
    if not frames.flags.writeable:  # torch would warn about it
        frames = frames.copy()
    return torch.from_numpy(np.ascontiguousarray(frames))
