"""Frames to features: a backbone with the preprocessing and arguments that belong to it."""

from __future__ import annotations

import copy
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.config import BackboneConfig, PreprocessConfig, RuntimeConfig
from vtnstream.encoding.clips import FRAMES, SampleShape, sample_shape
from vtnstream.encoding.runner import Runner
from vtnstream.errors import UsageError
from vtnstream.models.backbone import num_features
from vtnstream.models.compile.backend import Engine
from vtnstream.models.frame_network import FrameNetwork
from vtnstream.models.io.checkpoint import weights_sha256
from vtnstream.models.precision import TORCH_DTYPES, resolve_dtype
from vtnstream.models.vivit.encoder import StackedFrames
from vtnstream.models.vivit.model import ViViT
from vtnstream.preprocess.pipeline import Normalize
from vtnstream.types import FloatArray

if TYPE_CHECKING:
    from vtnstream.models.architectures import VideoModel

_BATCH_SIZES = {"cpu": 4, "cuda": 32}
_USUAL_PIXELS = 224 * 224
_MOST_SMALL = 32


def resolve_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU.

    Returns:
        A GPU with its number.

    Raises:
        UsageError: the device is unknown or not there.
    """
    if name == "auto":
        return _numbered(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r} (write auto, cpu, cuda or cuda:0)") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device {name!r}: no CUDA device here (try --device cpu)")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is not supported (write auto, cpu, cuda or cuda:0)")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UsageError(f"device {name!r} is not there: the last one is cuda:{last}")
    return _numbered(device)


def _numbered(device: torch.device) -> torch.device:
    """The GPU that is current here, by its number: in another thread another one may be."""
    if str(device) == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return device


def default_batch_size(
    device: torch.device, shape: SampleShape = FRAMES, pixels: int = _USUAL_PIXELS
) -> int:
    """Samples a backbone call where nothing was measured. On a CPU larger batches fall out of
    its caches and cost memory (MobileNetV2, frames a CPU-second: 72 by 4, 61 by 16, 41 by 32);
    of small pictures more fit, and the calls themselves are what takes the time (the bundled
    model: 2,400 by 4, 5,600 by 16, 7,100 by 32, no more by 64).

    Args:
        device: where.
        shape: of a sample.
        pixels: of a frame in the model's size.
    """
    frames = _BATCH_SIZES[device.type]
    if device.type == "cpu":
        while frames < _MOST_SMALL and 2 * frames * pixels <= _BATCH_SIZES["cpu"] * _USUAL_PIXELS:
            frames *= 2
    return max(1, frames // shape.frames_at_once)


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
        device: where it computes.
        dtype: what it computes in, never ``auto``.
        network: pixels to features, uncompiled: what every engine must equal.
        weights_sha256: hash over its weights, independent of the file they came from.
        num_features: D.
        engines: compiled ones that were checked, by backend and batch size (kept by
            :class:`vtnstream.encoding.engines.choose.Engines`).
        refused: backends whose engine cannot be used, and why.
        num_encoded: frames encoded so far.
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
        self.device = _numbered(torch.device(device))
        self.dtype = resolve_dtype(dtype, self.device)
        self.weights_sha256 = weights_sha256(backbone)
        self.num_features = num_features(backbone)
        if self.dtype != "float32":
            backbone = copy.deepcopy(backbone)  # the caller's model keeps its precision
        backbone = backbone.to(self.device, TORCH_DTYPES[self.dtype])
        if all(parameter.ndim < 5 for parameter in backbone.parameters()):
            # Convolutions run several times faster with channels last; nothing else minds.
            backbone = backbone.to(memory_format=torch.channels_last)
        network = FrameNetwork(Normalize(preprocess), backbone, TORCH_DTYPES[self.dtype])
        self.network = network.to(self.device).eval()
        self.engines: dict[tuple[str, int], Any] = {}
        self.refused: dict[str, str] = {}
        self.num_encoded = 0

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

    @property
    def usual_batch_size(self) -> int:
        """Samples a backbone call where nothing was measured."""
        pixels = self.preprocess.size * self.preprocess.frame_width
        return default_batch_size(self.device, self.shape, pixels)

    def runner(self, batch_size: int, engine: Engine | None = None) -> Runner:
        """An engine as the pipeline calls it, with ``batch_size`` samples at once; without one
        the uncompiled network."""
        name = f"{self.config.name} in {self.dtype}"
        fixed = engine is not None
        return Runner(engine or self.network, self.device, batch_size, fixed=fixed, name=name)

    def encode(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Samples (T, h, w, 3) uint8 to features (T, D) float32, uncompiled, in this thread.
        Where a sample is several frames, they stand one below the other.

        T may be 0. Rows do not depend on each other beyond the rounding that a batch's
        shape causes.

        Raises:
            UsageError: features that are not finite.
        """
        if not len(frames):
            return np.empty((0, self.num_features), np.float32)
        return self.runner(default_batch_size(self.device, self.shape))(frames)
