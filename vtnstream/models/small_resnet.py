"""``resnet10t`` of timm, built without importing timm.

The import would take longer than the bundled model takes for a minute of video. Modules have
timm's names and order, and give bit-identical results. Training uses timm's own. Source: He et
al. 2015 (arXiv 1512.03385); the stem of three convolutions and the averaged shortcuts are those
of He et al. 2018 (arXiv 1812.01187), ResNet-C and ResNet-D.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vtnstream.config import BackboneConfig
from vtnstream.models.feature_map import FeatureMap

NAME = "resnet10t"
_ARGUMENTS = {"channels", "stem_width"}
_STAGES = 4


def small_resnet(config: BackboneConfig) -> FeatureMap | None:
    """Create the frame encoder (N, 3, H, W) -> (N, D) of a config, with untrained weights.

    Returns:
        None if the config names another network, or arguments that timm must check.
    """
    stage = config.out_index or 0
    if config.name != NAME or set(config.arguments) != _ARGUMENTS or not 0 < stage <= _STAGES:
        return None
    channels, stem = _sizes(config.arguments["channels"]), _sizes([config.arguments["stem_width"]])
    if len(channels) != _STAGES or not stem or stem[0] < 4:
        return None
    rows, columns = config.grid
    body = SmallResNet(stem[0], channels[:stage])
    return FeatureMap(
        body, channels[stage - 1], (rows, columns), config.projection, config.thumbnail
    )


def _sizes(values: object) -> list[int]:
    """Return the numbers if all are positive integers, else an empty list."""
    if not isinstance(values, (list, tuple)):
        return []
    sizes = [value for value in values if type(value) is int and value > 0]
    return sizes if len(sizes) == len(values) else []


class SmallResNet(nn.Module):
    """Frames (N, 3, H, W) -> a list of one map (N, C, h, w).

    After the first stage h = H / 4 and w = W / 4; each further stage halves both.

    Args:
        stem_width: channels of the stem, whose last layer has twice as many.
        channels: of each stage.
    """

    def __init__(self, stem_width: int, channels: list[int]) -> None:
        super().__init__()
        first, before = 3 * (stem_width // 4), 2 * stem_width
        self.conv1 = nn.Sequential(
            _convolution(3, first, stride=2),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
            _convolution(first, stem_width),
            nn.BatchNorm2d(stem_width),
            nn.ReLU(inplace=True),
            _convolution(stem_width, before),
        )
        self.bn1 = nn.BatchNorm2d(before)
        for number, width in enumerate(channels, 1):
            block = _Block(before, width, stride=1 if number == 1 else 2)
            self.add_module(f"layer{number}", nn.Sequential(block))
            before = width
        self.num_stages = len(channels)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Map (N, 3, H, W) to one map (N, C, h, w)."""
        found = F.relu(self.bn1(self.conv1(frames)), inplace=True)
        found = F.max_pool2d(found, 3, 2, 1)
        for number in range(1, self.num_stages + 1):
            found = getattr(self, f"layer{number}")(found)
        return [found]


class _Block(nn.Module):
    """Two convolutions with a residual shortcut, which is averaged and projected if the sizes
    differ."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(before, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _convolution(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or before != width:
            smaller = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False)
            self.downsample = nn.Sequential(
                nn.Identity() if stride == 1 else smaller,
                nn.Conv2d(before, width, 1, bias=False),
                nn.BatchNorm2d(width),
            )

    def forward(self, found: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, width, H / stride, W / stride)."""
        shortcut = found if self.downsample is None else self.downsample(found)
        inner = F.relu(self.bn1(self.conv1(found)), inplace=True)
        inner = self.bn2(self.conv2(inner))
        inner += shortcut
        return F.relu(inner, inplace=True)


def _convolution(before: int, width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
