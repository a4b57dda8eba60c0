"""Decoded frames to model inputs: scale to [0, 1], normalise, channels first."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtnstream.config import PreprocessConfig


class Preprocess:
    """``(x / 255 - mean) / std``, worked in float32 on the device the frames go to.

    Geometry is not its business: frames arrive scaled and cropped from the decoder
    (:func:`vtnstream.preprocess.spatial.frame_fit`).
    """

    def __init__(self, config: PreprocessConfig) -> None:
        self.config = config
        self._mean = torch.tensor(config.mean).view(1, 3, 1, 1)
        self._std = torch.tensor(config.std).view(1, 3, 1, 1)

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
        if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
            raise ValueError(
                f"frames: expected uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}"
            )
        if not frames.flags.writeable:  # torch would warn about it
            frames = frames.copy()
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(device)  # (T, H, W, 3)
        return self.normalize(pixels).to(dtype)

    def normalize(self, pixels: Tensor) -> Tensor:
        """(T, H, W, 3) uint8 where they are -> (T, 3, H, W) float32."""
        scaled = pixels.permute(0, 3, 1, 2).to(
            torch.float32, memory_format=torch.contiguous_format
        )  # (T, 3, H, W)
        mean, std = self._mean.to(scaled.device), self._std.to(scaled.device)
        return scaled.div_(255).sub_(mean).div_(std)
