"""Turn decoded frames into model inputs: scale to [0, 1], normalise, move channels first."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vtnstream.config import PreprocessConfig


class Normalize(nn.Module):
    """``(x / 255 - mean) / std`` in float32, on the device of the pixels.

    The decoder has scaled and cropped the frames already
    (:func:`vtnstream.preprocess.spatial.frame_fit`).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: PreprocessConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Convert pixels (T, H, W, 3) uint8 to (T, 3, H, W) float32.

        The result keeps the channels last in memory: no copy is transposed, and convolutions are
        fastest in this format.
        """
        scaled = pixels.permute(0, 3, 1, 2).to(torch.float32)  # (T, 3, H, W)
        return scaled.div_(255).sub_(self.mean).div_(self.std)


class Preprocess:
    """Applies :class:`Normalize` to numpy arrays."""

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
        """Convert frames to the input of the backbone.

        Args:
            frames: (T, H, W, 3) uint8 RGB.
            device: device of the backbone; pixels are copied there as uint8.
            dtype: precision of the backbone.

        Returns:
            (T, 3, H, W) of ``dtype``.

        Raises:
            ValueError: the frames have another shape or dtype.
        """
        self._normalize.to(device)
        normal: Tensor = self._normalize(pixels_of(frames).to(device))
        return normal.to(dtype)


def pixels_of(frames: NDArray[np.uint8]) -> Tensor:
    """Return frames as a uint8 tensor (T, H, W, 3), which shares their memory if possible.

    Raises:
        ValueError: the frames are not uint8 (T, H, W, 3).
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(f"frames: expected uint8 (T, H, W, 3), got {frames.dtype} {frames.shape}")
    if not frames.flags.writeable:  # torch warns about read-only arrays
        frames = frames.copy()
    return torch.from_numpy(np.ascontiguousarray(frames))
