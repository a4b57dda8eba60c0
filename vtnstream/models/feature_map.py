"""Make a feature vector of a feature map inside an image network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FeatureMap(nn.Module):
    """Use a feature map of an image network as features that keep positions in the frame.

    Global pooling discards positions. With them, small frames through a small network suffice to
    tell a cut from a moving camera.

    Args:
        body: frames (N, 3, H, W) to a list of one map (N, C, h, w).
        channels: C.
        grid: rows and columns that the map is averaged to; a map of that size is used as it is.
        projection: size of a linear layer and LayerNorm after it, 0 for neither.
        thumbnail: rows and columns of the downscaled frame that is appended to its features; empty
            appends none.

    Attributes:
        num_features: D, C x rows x columns or ``projection``, and 3 numbers for each cell of the
            thumbnail.
    """

    def __init__(
        self,
        body: nn.Module,
        channels: int,
        grid: tuple[int, int],
        projection: int,
        thumbnail: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.body = body
        self.grid = grid
        flat = channels * grid[0] * grid[1]
        self.thumbnail = (thumbnail[0], thumbnail[1]) if thumbnail else None
        extra = 3 * self.thumbnail[0] * self.thumbnail[1] if self.thumbnail else 0
        self.num_features = (projection or flat) + extra
        self.projection = nn.Sequential()
        if projection:
            self.projection.extend([nn.Linear(flat, projection), nn.LayerNorm(projection)])

    def forward(self, frames: Tensor) -> Tensor:
        """Map (N, 3, H, W) to (N, D)."""
        (found,) = self.body(frames)  # (N, C, h, w)
        cells = F.adaptive_avg_pool2d(found, self.grid).flatten(1)  # (N, C * rows * columns)
        features: Tensor = self.projection(cells)
        if self.thumbnail:
            small = F.adaptive_avg_pool2d(frames, self.thumbnail)  # (N, 3, rows, columns)
            features = torch.cat((features, small.flatten(1)), dim=1)
        return features
