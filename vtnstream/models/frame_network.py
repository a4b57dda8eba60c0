"""Preprocessing and backbone as one network, which is compiled as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FrameNetwork(nn.Module):
    """Preprocessing and backbone: pixels (N, H, W, 3) uint8 -> features (N, D) float32.

    Args:
        normalize: pixels (N, H, W, 3) uint8 -> (N, 3, H, W) float32.
        backbone: (N, 3, H, W) of ``dtype`` -> (N, D).
        dtype: in which the backbone computes.
    """

    def __init__(self, normalize: nn.Module, backbone: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.normalize = normalize
        self.backbone = backbone
        self.dtype = dtype

    def prepare(self, pixels: Tensor) -> Tensor:
        """Convert pixels (N, H, W, 3) uint8 to the backbone's input (N, 3, H, W), channels last."""
        normal: Tensor = self.normalize(pixels)
        return normal.to(self.dtype).contiguous(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels (N, H, W, 3) uint8 to features (N, D) float32."""
        features: Tensor = self.backbone(self.prepare(pixels))  # (N, D)
        return features.float()
