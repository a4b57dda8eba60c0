"""Frames to features: a backbone with the preprocessing and arguments that belong to it."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.config import BackboneConfig, PreprocessConfig, RuntimeConfig
from vtnstream.errors import UsageError
from vtnstream.inference.samples import FRAMES, SampleShape, sample_shape
from vtnstream.models.backbone import num_features
from vtnstream.models.checkpoint import weights_sha256
from vtnstream.models.precision import TORCH_DTYPES, resolve_dtype
from vtnstream.models.vivit import ViViT
from vtnstream.models.vivit_encoder import StackedFrames
from vtnstream.preprocess.pipeline import Preprocess
from vtnstream.types import FloatArray

if TYPE_CHECKING:
    from vtnstream.models.architectures import VideoModel

CPU_FRAMES_AT_ONCE = 4
"""A batch goes through a CPU in parts of this size: larger ones fall out of its caches and
make the allocator return and fetch memory all the time (MobileNetV2, frames a CPU-second:
98 by 4, 62 by 8, 44 by 32), and they cost memory."""


def resolve_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU.

    Raises:
        UsageError: the device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r} (write auto, cpu, cuda or cuda:0)") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {name!r}: no CUDA device here (try --device cpu)")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported (write auto, cpu, cuda or cuda:0)")
    return device


def limit_threads(runtime: RuntimeConfig) -> None:
    """Give torch the number of threads that was asked for, where one was."""
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)


class FrameEncoder:
    """The spatial half of a VTN (paper section 3.1) as the feature store knows it.

    Attributes:
        config: the backbone's timm name and arguments.
        preprocess: how frames are prepared for it.
        shape: what of a video it sees at once.
        dtype: what it computes in, never ``auto``.
        weights_sha256: hash over its weights, independent of the file they came from.
        backend: what runs it; part of the feature key.
    """

    def __init__(
        self,
        backbone: torch.nn.Module,
        config: BackboneConfig,
        preprocess: PreprocessConfig,
        *,
        device: torch.device | str = "cpu",
        dtype: str = "auto",
        shape: SampleShape = FRAMES,
    ) -> None:
        self.config = config
        self.shape = shape
        self.preprocess = preprocess
        self.device = torch.device(device)
        self.dtype = resolve_dtype(dtype, self.device)
        self.backend = f"eager:{self.device.type}"
        self.weights_sha256 = weights_sha256(backbone)
        self.num_features = num_features(backbone)
        if self.dtype != "float32":
            backbone = copy.deepcopy(backbone)  # the caller's model keeps its precision
        backbone = backbone.to(self.device, TORCH_DTYPES[self.dtype])
        if all(parameter.ndim < 5 for parameter in backbone.parameters()):
            # Convolutions run several times faster with channels last; nothing else minds.
            backbone = backbone.to(memory_format=torch.channels_last)
        self._backbone: torch.nn.Module = backbone.eval()
        self._prepare = Preprocess(preprocess)

    @classmethod
    def from_model(cls, model: VideoModel, runtime: RuntimeConfig) -> FrameEncoder:
        """The encoder inside a model."""
        return cls(
            StackedFrames(model.backbone) if isinstance(model, ViViT) else model.backbone,
            model.config.backbone,
            model.config.preprocess,
            device=resolve_device(runtime.device),
            dtype=runtime.dtype,
            shape=sample_shape(model.config),
        )

    def with_hop(self, hop: int) -> FrameEncoder:
        """The same for clips ``hop`` tokens apart."""
        other = copy.copy(self)
        other.shape = dataclasses.replace(self.shape, hop=hop)
        return other

    def encode(self, frames: NDArray[np.uint8]) -> FloatArray:
        """One batch of frames (T, h, w, 3) uint8 to features (T, D) float32; where a sample is
        several frames, they stand one below the other.

        T may be 0. Rows do not depend on each other beyond the rounding that a batch's
        shape causes, which is why the store reuses its first batch size.
        """
        if not len(frames):
            return np.empty((0, self.num_features), np.float32)
        at_once = max(1, CPU_FRAMES_AT_ONCE // self.shape.frames_at_once)
        step = at_once if self.device.type == "cpu" else len(frames)
        parts = [self._forward(frames[i : i + step]) for i in range(0, len(frames), step)]
        features = np.concatenate(parts)  # (T, D)
        if not np.isfinite(features).all():
            raise UsageError(
                f"backbone {self.config.name} gives values that are not finite in {self.dtype}: "
                "use --dtype float32, or check its weights"
            )
        return np.ascontiguousarray(features, np.float32)

    @torch.inference_mode()
    def _forward(self, frames: NDArray[np.uint8]) -> FloatArray:
        batch = self._prepare(frames, device=self.device, dtype=TORCH_DTYPES[self.dtype])
        batch = batch.contiguous(memory_format=torch.channels_last)  # (T, 3, H, W)
        features: FloatArray = self._backbone(batch).float().cpu().numpy()  # (T, D)
        return features
