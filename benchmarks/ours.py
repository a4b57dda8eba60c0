"""vtnstream as a contender, by the code of its commands, from the video to the feature file."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vtnstream.cli.framework.process_settings import (
    keep_freed_memory,
    postpone_compiler,
    spin_less,
)

spin_less()  # as the command does, before torch is imported
postpone_compiler()
keep_freed_memory()

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from vtnstream.analyzer import Analyzer  # noqa: E402
from vtnstream.config import (  # noqa: E402
    BackboneConfig,
    ModelConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
)
from vtnstream.encoding.encoder import FrameEncoder, default_batch_size  # noqa: E402
from vtnstream.encoding.engines.choose import Engines  # noqa: E402
from vtnstream.encoding.engines.state import EngineState  # noqa: E402
from vtnstream.encoding.runner import worker_plan  # noqa: E402
from vtnstream.encoding.worker_pool import Encoding  # noqa: E402
from vtnstream.inference.extract_file import extract_to_file  # noqa: E402
from vtnstream.inference.request import Request  # noqa: E402
from vtnstream.models.architectures import VideoModel, require_vtn  # noqa: E402
from vtnstream.models.backbone import load_backbone_weights, native_preprocess  # noqa: E402
from vtnstream.models.create import create_model  # noqa: E402
from vtnstream.models.io.checkpoint import load_model, save_model  # noqa: E402
from vtnstream.preprocess.spatial import frame_fit  # noqa: E402
from vtnstream.preprocess.surfaces import SurfaceConverter  # noqa: E402
from vtnstream.progress import NullProgress  # noqa: E402
from vtnstream.types import DecodeStats, FrameChunk, TokenTimes  # noqa: E402
from vtnstream.video.decoding.hardware import DECODERS, NVDEC, Hardware  # noqa: E402
from vtnstream.video.decoding.reader import DECODER  # noqa: E402
from vtnstream.video.source import open_video  # noqa: E402


class OurFolder:
    """Writes a model folder."""

    def write(self, backbone: str, weights: str, rate: str, folder: str) -> None:
        """Write a model folder from a state dict of the backbone."""
        save_model(_model(backbone, weights, SamplingConfig(fps=Fraction(rate))), folder)


def _model(backbone: str, weights: str, sampling: SamplingConfig) -> VideoModel:
    config = BackboneConfig(backbone)
    model = create_model(
        ModelConfig(
            sampling=sampling,
            backbone=config,
            preprocess=native_preprocess(config),
            temporal=TemporalConfig(num_layers=1, num_heads=1),  # not used here
        )
    ).eval()
    load_backbone_weights(model.backbone, weights)
    return model


class OurFeatures:
    """``vtnstream extract`` with the model kept loaded.

    Args:
        backbone: timm name.
        weights: a state dict of it, or a model folder with it.
        rate: frames per second.
        output: feature file to write (``.safetensors``).
        device, dtype: as ``--device`` and ``--dtype``.
        compiled: whether the backbone may be compiled.
        decoder: as ``--decoder``.

    Attributes:
        facts: how the last video was read and encoded, from its report.
    """

    def __init__(
        self,
        backbone: str,
        weights: str,
        rate: str,
        output: str,
        device: str = "auto",
        dtype: str = "auto",
        compiled: bool = True,
        decoder: str = "auto",
    ) -> None:
        self._engines = EngineState()
        self.facts: dict[str, Any] = {}
        self.output = output
        self.sampling = SamplingConfig(fps=Fraction(rate))
        backend = "auto" if compiled else "eager"
        self.runtime = RuntimeConfig(device=device, dtype=dtype, backend=backend, decoder=decoder)
        folder = Path(weights).is_dir()
        model = load_model(weights) if folder else _model(backbone, weights, self.sampling)
        self.encoder = FrameEncoder.from_model(require_vtn(model, "this benchmark"), self.runtime)

    def load(self) -> str:
        """Compile the backbone if that makes it faster; return how it computes."""
        pictures = self._pictures(default_batch_size(self.encoder.device))
        engines = Engines(self.encoder, self.runtime, NullProgress(), self._engines)
        choice = engines.make_best(lambda: pictures)
        return f"{self.encoder.dtype}, {choice.backend}"

    def extract(self, video: str) -> int:
        """Measure from opening the video to its features in the store and in a file; return T."""
        runtime = replace(self.runtime, use_cache=False)  # features; the engine is kept
        report = extract_to_file(
            video,
            self.encoder,
            self.sampling,
            self.output,
            request=Request(),
            runtime=runtime,
            progress=NullProgress(),
            engines=self._engines,
        )
        self.facts = report.run["runtime"]
        return int(report.run["tokens"])

    def ran(self) -> str:
        """Return the precision, backend and decoder of the last video."""
        return ", ".join(str(self.facts[name]) for name in ("dtype", "backend", "decoder"))

    def decode(self, video: str) -> int:
        """Decode only the sampled frames, scaled to the model's size.

        The GPU is used only if ``decoder`` names it. If a decoder is named, as many stretches
        are decoded in parallel as in ``extract``.
        """
        preprocess, hardware, decoders = self.encoder.preprocess, None, 1
        if self.runtime.decoder == NVDEC:
            converter = SurfaceConverter(preprocess.interpolation)
            hardware, decoders = Hardware(self.encoder.device.index or 0, converter), DECODERS
        elif self.runtime.decoder == DECODER:
            decoders = worker_plan(self.encoder.device).decoders
        with open_video(
            video,
            self.sampling,
            fit=frame_fit(preprocess),
            interpolation=preprocess.interpolation,
            decoders=decoders,
            hardware=hardware,
        ) as source:
            return sum(len(chunk.times) for chunk in source.chunks())

    def backbone(self, count: int) -> int:
        """Run only the backbone, on ``count`` frames of its size."""
        pictures = self._pictures(default_batch_size(self.encoder.device))
        engines = Engines(self.encoder, self.runtime, NullProgress(), self._engines)
        choice = engines.choose(count, lambda: pictures)
        batch = engines.batch_size(count, lambda: pictures)
        run = engines.prepare(choice, batch, lambda: pictures).run
        made = self._pictures(batch)  # once: a GPU is faster than random numbers
        with Encoding(run, engines.worker_plan, self.encoder.num_features) as encoding:
            frames = (_chunk(made[: count - first], first) for first in range(0, count, batch))
            return sum(len(encoded.values) for encoded in encoding.results(frames))

    def _pictures(self, count: int) -> NDArray[np.uint8]:
        shape = (count, self.encoder.preprocess.size, self.encoder.preprocess.frame_width, 3)
        return np.random.default_rng(0).integers(0, 255, shape, np.uint8)


def _chunk(pictures: NDArray[np.uint8], first: int) -> FrameChunk:
    indices = np.arange(first, first + len(pictures))
    seconds = indices.astype(np.float64)
    times = TokenTimes(indices, indices, seconds, seconds + 1)
    return FrameChunk(pictures, times, first, first + len(pictures), DecodeStats())


class OurClass:
    """``vtnstream classify`` with the model kept loaded, without stored features.

    Args:
        preset: of the paper, with 400 classes and random weights.
        dtype, device: as ``--dtype`` and ``--device``.
    """

    def __init__(self, preset: str, dtype: str = "auto", device: str = "auto") -> None:
        runtime = RuntimeConfig(device=device, dtype=dtype, use_cache=False)
        self.analyzer = Analyzer(create_model(preset, num_classes=400), runtime=runtime)

    def load(self) -> None:
        """Do nothing: the model is loaded by the constructor."""

    def classify(self, video: str) -> None:
        """Classify with one pass over the preset's 250 frames, from opening the file."""
        report = self.analyzer.classify(video, Request())
        assert len(report.classes) == 400
