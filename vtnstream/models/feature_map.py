"""An inner feature map of an image network as a frame's feature vector."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FeatureMap(nn.Module):
    """Keeps where in the picture something is, which global pooling throws away: small
    pictures through a small network then tell a cut from a moving camera.

    Args:
        body: frames (N, 3, H, W) to a list of one map (N, C, h, w).
        channels: C.
        grid: rows and columns that the map is averaged to; a map of that size stays as it is.
        projection: size of a linear layer and LayerNorm behind it, 0 for neither.

    Attributes:
        num_features: D, C x rows x columns or ``projection``.
    """

    def __init__(
        self, body: nn.Module, channels: int, grid: tuple[int, int], projection: int
    ) -> None:
        super().__init__()
        self.body = body
        self.grid = grid
        flat = channels * grid[0] * grid[1]
        self.num_features = projection or flat
        self.projection = nn.Sequential()
        if projection:
            self.projection.extend([nn.Linear(flat, projection), nn.LayerNorm(projection)])

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, D)."""
        (found,) = self.body(frames)  # (N, C, h, w)
        cells = F.adaptive_avg_pool2d(found, self.grid).flatten(1)  # (N, C * rows * columns)
        features: Tensor = self.projection(cells)
        return features
