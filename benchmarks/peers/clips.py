"""Clip networks as published: thirty views of a video with averaged softmax, random weights."""

from __future__ import annotations

import contextlib
import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vtnstream.models.complexity import Products, count_parameters, count_products

CLIPS, CROPS = 10, 3
MEAN, STD = 0.45, 0.225


@dataclass(frozen=True)
class Network:
    """The input of a clip network.

    Attributes:
        frames: frames of a view.
        stride: distance between them in frames of the video.
        size: height and width of the crop.
        alpha: ratio of the frames of the fast pathway to those of the slow one; 0: one pathway.
    """

    frames: int
    stride: int
    size: int
    alpha: int = 0


NETWORKS = {
    "slowfast": Network(64, 2, 256, alpha=4),
    "i3d": Network(8, 8, 256),
    "nl_i3d": Network(32, 2, 224),
}
"""SlowFast-R101 16x8, I3D-R50 8x8 and a non-local I3D-R50 of 32 frames."""


def build(name: str) -> nn.Module:
    """Build a network of ``pytorchvideo.models`` without trained weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own deprecations
        from pytorchvideo.models.hub.resnet import i3d_r50
        from pytorchvideo.models.hub.slowfast import slowfast_16x8_r101_50_50

    if name == "slowfast":
        network = slowfast_16x8_r101_50_50()
    elif name == "i3d":
        network = i3d_r50()
    else:
        network = i3d_r50(stem_conv_stride=(2, 2, 2), head_pool_kernel_size=(8, 7, 7))
        _insert_nonlocal_blocks(network)
    made: nn.Module = network.eval()
    return made


def _insert_nonlocal_blocks(network: Any) -> None:
    """Insert five non-local blocks into the second and third stage, as in NL I3D."""
    from pytorchvideo.layers.nonlocal_net import create_nonlocal

    stages = [block for block in network.blocks if hasattr(block, "res_blocks")]
    for stage, numbers in ((stages[1], (1, 3)), (stages[2], (1, 3, 5))):
        for number in numbers:
            block = stage.res_blocks[number]
            size = block.branch2.conv_c.out_channels
            attention = create_nonlocal(dim_in=size, dim_inner=size // 2, pool_size=(1, 2, 2))
            stage.res_blocks[number] = nn.Sequential(block, attention)


class ClipPeer:
    """One network over thirty views.

    Args:
        network: of :data:`NETWORKS`.
        dtype: ``float32``, or ``bfloat16`` by autocast.
        device: ``cpu`` or ``cuda``.
        views: number of the thirty views to run.
    """

    def __init__(
        self,
        network: str,
        dtype: str = "float32",
        device: str = "cpu",
        views: int = CLIPS * CROPS,
    ) -> None:
        torch.manual_seed(0)
        self.settings, self.views = NETWORKS[network], views
        self.size = self.settings.size
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self.network = build(network).to(self.device)

    def load(self) -> None:
        """Run one view to warm up."""
        frames = torch.zeros(self.settings.frames, 3, self.size, self.size, dtype=torch.uint8)
        self._forward(self._crop(frames, 0))

    def classify(self, video: str) -> dict[str, float]:
        """Classify from opening the file to averaged scores; return the seconds of decoding and
        of the views."""
        began = time.perf_counter()
        frames = self._decode(video)
        middle = time.perf_counter()
        total = sum(
            (self._forward(self._crop(self._clip(frames, view // CROPS), view % CROPS)))
            for view in range(self.views)
        )
        assert isinstance(total, Tensor)
        total.cpu()
        return {"decode": middle - began, "views": time.perf_counter() - middle}

    def _decode(self, video: str) -> Tensor:
        """Decode all frames (T, 3, h, w) uint8, with the short side scaled to the crop's."""
        import av
        from torchvision.transforms import v2

        shrink = v2.Resize(self.size, antialias=True)
        with av.open(video) as container:
            container.streams.video[0].thread_type = "AUTO"
            arrays = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
            return torch.stack([shrink(torch.from_numpy(a).permute(2, 0, 1)) for a in arrays])

    def _clip(self, frames: Tensor, number: int) -> Tensor:
        """Return clip ``number`` of ten evenly spaced ones; after the end of the video its last
        frame repeats."""
        length = self.settings.frames * self.settings.stride
        start = max(0, len(frames) - length) * number // (CLIPS - 1)
        wanted = start + torch.arange(self.settings.frames) * self.settings.stride
        return frames[wanted.clamp(max=len(frames) - 1)]

    def _crop(self, clip: Tensor, number: int) -> Tensor:
        """Crop left, centre or right: (T, 3, h, w) uint8 to (1, 3, T, S, S)."""
        height, width = clip.shape[-2:]
        left = (width - self.size) * number // (CROPS - 1)
        top = (height - self.size) * number // (CROPS - 1)
        view = clip[..., top : top + self.size, left : left + self.size].to(self.device)
        return ((view / 255 - MEAN) / STD).permute(1, 0, 2, 3)[None]

    @torch.inference_mode()
    def _forward(self, view: Tensor) -> Tensor:
        """Map (1, 3, T, S, S) to probabilities (K,)."""
        mixed = (
            torch.autocast(self.device.type, self.dtype)
            if self.dtype != torch.float32
            else contextlib.nullcontext()
        )
        with mixed:
            logits: Tensor = self.network(_pathways(view, self.settings.alpha))
        return logits.float().softmax(-1)[0]


def _pathways(view: Tensor, alpha: int) -> Any:
    return [view[:, :, ::alpha], view] if alpha else view


class Complexity:
    """Counts parameters and multiply-adds of a network without computing."""

    def count(self, network: str) -> dict[str, float]:
        settings = NETWORKS[network]
        with torch.device("meta"):
            built = build(network)
            view = torch.empty(1, 3, settings.frames, settings.size, settings.size)
        products: Products = count_products(built, _pathways(view, settings.alpha))
        views = CLIPS * CROPS
        return {
            "parameters": count_parameters(built) / 1e6,
            "gflops": products.weights * views / 1e9,
            "full": products.full * views / 1e9,
        }
