"""The frame encoder: an image backbone with its preprocessing and arguments."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.config import BackboneConfig, PreprocessConfig, RuntimeConfig
from vtnstream.config.runtime import default_cache_dir
from vtnstream.encoding.clips import FRAMES, InputShape, input_shape
from vtnstream.encoding.known_networks import KnownNetwork, KnownNetworks
from vtnstream.encoding.lazy_network import LazyNetwork, checked, copy_in
from vtnstream.encoding.run_facts import ComputedOn
from vtnstream.encoding.runner import Runner, worker_plan
from vtnstream.encoding.worker_pool import BackboneThreads
from vtnstream.errors import UsageError
from vtnstream.models.backbone import (
    create_backbone,
    find_weights,
    load_backbone_weights,
    native_preprocess,
    num_features,
)
from vtnstream.models.compile.backend import Engine
from vtnstream.models.frame_network import FrameNetwork
from vtnstream.models.io.checkpoint import weights_sha256
from vtnstream.models.io.installed_weights import find_installed, load_installed
from vtnstream.models.precision import TORCH_DTYPES, is_slow, resolve_dtype
from vtnstream.models.vivit.encoder import StackedFrames
from vtnstream.models.vivit.model import ViViT
from vtnstream.preprocess.pipeline import Normalize
from vtnstream.process_memory import trim
from vtnstream.progress import Progress
from vtnstream.types import FloatArray

if TYPE_CHECKING:
    from vtnstream.encoding.engines.choose import Engines
    from vtnstream.encoding.engines.state import EngineState
    from vtnstream.models.architectures import VideoModel

_BATCH_SIZES = {"cpu": 4, "cuda": 32}
_USUAL_PIXELS = 224 * 224
_MOST_SMALL = 32


def resolve_device(name: str) -> torch.device:
    """Resolve a device name; ``auto`` is CUDA if available, else the CPU.

    Returns:
        The device; a GPU with its index.

    Raises:
        UsageError: the device is unknown or not available.
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
        raise UsageError(f"device {name!r} does not exist: the last one is cuda:{last}")
    return _numbered(device)


def _numbered(device: torch.device) -> torch.device:
    """Add the index of the current GPU: another thread may have another current GPU."""
    if str(device) == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return device


def default_batch_size(
    device: torch.device, shape: InputShape = FRAMES, pixels: int = _USUAL_PIXELS
) -> int:
    """Return the number of samples per backbone call where nothing was measured.

    On a CPU larger batches exceed the caches and cost memory (MobileNetV2, frames per CPU
    second: 72 at batch size 4, 61 at 16, 41 at 32). Small frames are dominated by the cost of a
    call, so that larger batches pay (bundled model: 2,400 at 4, 5,600 at 16, 7,100 at 32, no
    more at 64).

    Args:
        device: the device of the backbone.
        shape: the shape of a sample.
        pixels: pixels of a frame at the model's input size.
    """
    frames = _BATCH_SIZES[device.type]
    if device.type == "cpu":
        while frames < _MOST_SMALL and 2 * frames * pixels <= _BATCH_SIZES["cpu"] * _USUAL_PIXELS:
            frames *= 2
    return max(1, frames // shape.frames_at_once)


def limit_threads(runtime: RuntimeConfig) -> None:
    """Set the number of torch threads if the user requested one."""
    if runtime.threads is not None:
        torch.set_num_threads(runtime.threads)


class FrameEncoder:
    """The spatial half of a VTN (paper section 3.1): frames in, features out.

    Args:
        backbone: the image network.
        config, preprocess, device, dtype, shape: see the attributes.
        owned: nobody else uses ``backbone``, so that it may be converted itself.

    Attributes:
        config: timm name and arguments of the backbone.
        preprocess: how frames are prepared for it.
        shape: the input of one call: a frame, a burst or a clip.
        device: the device it computes on.
        dtype: the precision it computes in, never ``auto``.
        weights_sha256: hash of the weights, independent of the file they came from.
        num_features: D.
        weights_taken: what was taken of a wrapped checkpoint, in words; empty for none.
    """

    weights_taken: str = ""

    def __init__(
        self,
        backbone: torch.nn.Module,
        config: BackboneConfig,
        preprocess: PreprocessConfig,
        *,
        device: torch.device | str = "cpu",
        dtype: str = "auto",
        shape: InputShape = FRAMES,
        owned: bool = False,
    ) -> None:
        self._describe(config, preprocess, device, dtype, shape)
        self.weights_sha256 = weights_sha256(backbone)
        self.num_features = num_features(backbone)
        self._lazy = LazyNetwork(lambda: self._prepared(backbone, owned))
        self._lazy.get()

    def _describe(
        self,
        config: BackboneConfig,
        preprocess: PreprocessConfig,
        device: torch.device | str,
        dtype: str,
        shape: InputShape,
    ) -> None:
        self.config = config
        self.shape = shape
        self.preprocess = preprocess
        self.device = _numbered(torch.device(device))
        self.dtype = resolve_dtype(dtype, self.device)

    def _prepared(self, backbone: torch.nn.Module, owned: bool) -> FrameNetwork:
        """The network in the encoder's precision, on its device."""
        if self.dtype != "float32" and not owned:
            backbone = copy_in(TORCH_DTYPES[self.dtype], backbone)
        backbone = backbone.to(self.device, TORCH_DTYPES[self.dtype])
        if all(parameter.ndim < 5 for parameter in backbone.parameters()):
            # Convolutions run several times faster with channels last; the rest is not slower.
            backbone = backbone.to(memory_format=torch.channels_last)
        network = FrameNetwork(Normalize(self.preprocess), backbone, TORCH_DTYPES[self.dtype])
        trim()  # frees the weights in another precision
        return network.to(self.device).eval()

    @property
    def network(self) -> FrameNetwork:
        """Pixels to features, uncompiled: the reference for every engine. It is built on first
        use where the weights were met before.

        Raises:
            ModelError: it cannot be built, or its weights have changed.
        """
        return self._lazy.get()

    @property
    def is_built(self) -> bool:
        """Whether the network is in memory."""
        return self._lazy.is_built

    @classmethod
    def of_files(
        cls,
        load: Callable[[], tuple[torch.nn.Module, str]],
        files: Sequence[Path],
        config: BackboneConfig,
        preprocess: PreprocessConfig,
        runtime: RuntimeConfig,
    ) -> FrameEncoder:
        """Return the encoder of a backbone whose weights are in files.

        Where these files were met before, the backbone is built only when a frame is encoded.

        Args:
            load: builds the backbone and says in words what was taken of a wrapped checkpoint.
            files: all that decides the weights.
            config: timm name and arguments of the backbone.
            preprocess: how frames are prepared.
            runtime: device, precision, cache.

        Raises:
            ModelError: the backbone cannot be built.
            UsageError: the device is not available.
        """
        device = resolve_device(runtime.device)
        networks = KnownNetworks(runtime.cache_dir or default_cache_dir(), keep=runtime.use_cache)
        key = networks.key(files, config)
        known = networks.get(key)
        if known is None:
            backbone, taken = load()
            encoder = cls(
                backbone, config, preprocess, device=device, dtype=runtime.dtype, owned=True
            )
            encoder.weights_taken = taken
            networks.note(key, KnownNetwork(encoder.weights_sha256, encoder.num_features, taken))
            return encoder
        encoder = cls.__new__(cls)
        encoder._describe(config, preprocess, device, runtime.dtype, FRAMES)
        encoder.weights_sha256 = known.weights_sha256
        encoder.num_features = known.num_features
        encoder.weights_taken = known.weights_taken
        encoder._lazy = LazyNetwork(
            lambda: encoder._prepared(checked(load()[0], known, files), owned=True)
        )
        return encoder

    @classmethod
    def from_model(cls, model: VideoModel, runtime: RuntimeConfig) -> FrameEncoder:
        """Return the frame encoder of a model."""
        return cls(
            StackedFrames(model.backbone) if isinstance(model, ViViT) else model.backbone,
            model.config.backbone,
            model.config.preprocess,
            device=resolve_device(runtime.device),
            dtype=runtime.dtype,
            shape=input_shape(model.config),
        )

    @classmethod
    def from_backbone(
        cls,
        backbone: str | BackboneConfig,
        *,
        weights: str | Path | None = None,
        pretrained: bool = False,
        preprocess: PreprocessConfig | None = None,
        runtime: RuntimeConfig | None = None,
    ) -> FrameEncoder:
        """Return the frame encoder of an image backbone without a temporal model.

        Without weights the backbone is initialised randomly, from the current state of torch's
        generator, unless a package of its weights is installed (extra ``backbone``).

        Args:
            backbone: a timm name, or a config with its arguments.
            weights: a file or folder of weights, or ``hf-hub:`` and a name.
            pretrained: load the weights that timm names for this backbone from the Hub.
            preprocess: how frames are prepared; None is what the backbone was trained with.
            runtime: device and precision.

        Raises:
            ModelError: the backbone cannot be built.
            CheckpointError: the weights do not fit the backbone.
            UsageError: the device is not available.
        """
        config = BackboneConfig(backbone) if isinstance(backbone, str) else backbone
        runtime = runtime or RuntimeConfig()
        preprocess = preprocess or native_preprocess(config)
        plain = weights is None and config.out_index is None
        installed = find_installed(config.name) if plain else None
        if installed is None and weights is None:
            device = resolve_device(runtime.device)
            network = create_backbone(config, pretrained=pretrained)
            return cls(network, config, preprocess, device=device, dtype=runtime.dtype, owned=True)
        path = installed if weights is None else find_weights(weights)
        assert path is not None

        def load() -> tuple[torch.nn.Module, str]:
            network = create_backbone(config, pretrained=pretrained and installed is None)
            if installed is not None:
                load_installed(network, config.name, installed)
                return network, ""
            return network, load_backbone_weights(network, path)

        return cls.of_files(load, (path,), config, preprocess, runtime)

    def with_hop(self, hop: int) -> FrameEncoder:
        """Return this encoder for clips that start ``hop`` tokens apart."""
        other = copy.copy(self)
        other.shape = dataclasses.replace(self.shape, hop=hop)
        return other

    @property
    def computed_on(self) -> ComputedOn:
        """Device, precision and shape, for a report."""
        return ComputedOn(str(self.device), self.dtype, self.shape, torch.__version__)

    @property
    def device_type(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.device.type

    @property
    def device_index(self) -> int | None:
        """Number of the GPU, None on a CPU."""
        return self.device.index if self.device.type == "cuda" else None

    @property
    def is_slow(self) -> bool:
        """Whether the device only emulates the precision, which is correct but slow."""
        return is_slow(self.dtype, self.device)

    def engines(
        self, runtime: RuntimeConfig, progress: Progress, state: EngineState | None = None
    ) -> Engines:
        """Return the engines of this encoder, with the number of torch threads set as requested.

        Args:
            runtime: backend, batch size, cache.
            progress: receives messages about compilation, and warnings.
            state: engines that were prepared for this encoder before; None starts empty.
        """
        from vtnstream.encoding.engines.choose import Engines

        limit_threads(runtime)
        if state is not None:
            state.prepare_thread()
        return Engines(self, runtime, progress, state)

    def num_threads(self, runtime: RuntimeConfig) -> int:
        """Return the number of threads that torch computes with on a CPU."""
        return runtime.threads or torch.get_num_threads()

    def share_threads(self, runtime: RuntimeConfig, state: EngineState) -> None:
        """Start threads that call the engines for all videos, so that several threads may each
        extract one video with ``state`` at the same time.

        Args:
            runtime: the number of torch threads.
            state: engines that were prepared for this encoder.
        """
        limit_threads(runtime)
        # A new thread would begin with the number of torch threads that any thread set last.
        state.prepare_thread = partial(torch.set_num_threads, torch.get_num_threads())
        plan = worker_plan(self.device)
        begin = partial(torch.set_num_threads, plan.threads)
        state.threads = BackboneThreads(plan.workers, begin, decoders=plan.decoders + 1)

    @property
    def usual_batch_size(self) -> int:
        """Samples per backbone call where nothing was measured."""
        pixels = self.preprocess.size * self.preprocess.frame_width
        return default_batch_size(self.device, self.shape, pixels)

    def runner(self, batch_size: int, engine: Engine | None = None) -> Runner:
        """Return a runner of ``engine`` for ``batch_size`` samples; without one of the
        uncompiled network."""
        name = f"{self.config.name} in {self.dtype}"
        if engine is not None:
            return Runner(engine, self.device, batch_size, fixed=True, name=name)
        return Runner(self._uncompiled(), self.device, batch_size, fixed=False, name=name)

    def _uncompiled(self) -> Engine:
        """The network, or, while it is not built, a call that builds it."""
        if self.is_built:
            return self.network
        return lambda pixels: self.network(pixels)

    def encode(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Encode samples with the uncompiled network, in this thread.

        Rows do not depend on each other beyond the rounding that the shape of a batch causes.

        Args:
            frames: samples (T, h, w, 3) uint8; T may be 0. The frames of a sample are stacked
                vertically.

        Returns:
            Features (T, D) float32.

        Raises:
            UsageError: the features are not finite.
        """
        if not len(frames):
            return np.empty((0, self.num_features), np.float32)
        return self.runner(default_batch_size(self.device, self.shape))(frames)
