"""A video of 150 s whose image always changes, a small model with both heads, and a replaced
compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    RuntimeConfig,
    SamplingConfig,
    TemporalConfig,
)
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.engines import build
from vtnstream.encoding.engines.state import EngineState
from vtnstream.encoding.extract import extract_features
from vtnstream.models.compile.inductor import Inductor
from vtnstream.models.create import create_model
from vtnstream.models.vtn.model import VTN
from vtnstream.progress import NullProgress
from vtnstream.types import TimeRange
from vtnstream.video.write import write_video

SECONDS, RATE = 150, 4
TOKENS = 300
"""Number of tokens of the video with the model's sampling."""


def noise_frames(seed: int = 0, count: int = SECONDS * RATE) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield np.kron(random.integers(0, 255, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, noise_frames(), Fraction(RATE))
    return path


@torch.no_grad()
def spread_answers(model: VTN) -> None:
    """Scale untrained heads until the predictions of windows and tokens differ."""
    features = torch.randn(64, 16, model.num_features)
    tokens = model.encode_time(model.normalize(features))
    for head, logits in (
        (model.mlp_head[4], model.heads(tokens).logits),
        (model.dense_head, model.heads(tokens).dense_logits.flatten(0, 1)),
    ):
        scale = 2 / logits.std(0)
        head.bias.sub_(logits.mean(0)).mul_(scale)
        head.weight.mul_(scale[:, None])


@pytest.fixture(scope="session")
def model() -> VTN:
    torch.manual_seed(0)
    config = ModelConfig(
        name="small",
        sampling=SamplingConfig(fps=Fraction(2)),
        preprocess=PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=BackboneConfig("test_vit", {"img_size": 64, "depth": 2}),
        feature_norm="video_mean",
        temporal=TemporalConfig(
            num_layers=2, num_heads=4, intermediate_size=128, attention_window=(16,)
        ),
        head=HeadConfig(labels=("a", "b", "c"), dense_labels=("background", "x", "y", "z")),
    )
    model = create_model(config)
    spread_answers(model.eval())
    return model.eval()


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeConfig:
    return RuntimeConfig(cache_dir=tmp_path / "cache", batch_size=8, dtype="float32")


@pytest.fixture
def other_runtime(runtime: RuntimeConfig, tmp_path: Path) -> RuntimeConfig:
    return replace(runtime, cache_dir=tmp_path / "other")


class Watcher(NullProgress):
    """Records the messages that a user would read."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.warnings: list[str] = []

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        self.begun.append(what)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    @property
    def compiled(self) -> int:
        return sum("compiling test_vit (inductor)" in what for what in self.begun)


class StandInCompiler:
    """Replaces AOTInductor: an engine is the unchanged network, multiplied by ``factor``, for
    batches of the shape it was built for."""

    factor = 1.0

    def compile_in_child(
        self, backend: str, network: Any, pixels: torch.Tensor, folder: Path, **rest: Any
    ) -> float:
        rest["on_wait"](0.5)
        torch.save((network, pixels.shape), folder / "model.pt2")
        return 3.0

    def load(self, folder: Path, *rest: Any) -> Any:
        network, shape = torch.load(folder / "model.pt2", weights_only=False)

        def engine(pixels: torch.Tensor) -> torch.Tensor:
            assert pixels.shape == shape
            return network(pixels) * self.factor  # type: ignore[no-any-return]

        return engine


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> StandInCompiler:
    compiler = StandInCompiler()
    monkeypatch.setattr(build, "compile_in_child", compiler.compile_in_child)
    monkeypatch.setattr(Inductor, "load", lambda self, *args: compiler.load(*args))
    monkeypatch.setattr(Inductor, "missing", lambda self, device: None)
    return compiler


@pytest.fixture
def compiled(runtime: RuntimeConfig, compiler: StandInCompiler) -> RuntimeConfig:
    return replace(runtime, backend="inductor")


Extract = Callable[..., tuple[np.ndarray, dict[str, Any], Watcher]]


@pytest.fixture
def extract(video: Path, model: VTN) -> Extract:
    """Return the features, facts and messages of the video, or of its first seconds."""

    def extract(
        runtime: RuntimeConfig,
        encoder: FrameEncoder | None = None,
        *,
        engines: EngineState | None = None,
        seconds: int | None = None,
    ) -> tuple[np.ndarray, dict[str, Any], Watcher]:
        watcher = Watcher()
        encoder = encoder or FrameEncoder.from_model(model, runtime)
        span = None if seconds is None else TimeRange(Fraction(0), Fraction(seconds))
        with extract_features(
            video,
            encoder,
            model.config.sampling,
            span=span,
            runtime=runtime,
            progress=watcher,
            engines=engines,
        ) as found:
            return np.concatenate(list(found.features.blocks(100))), found.facts.as_dict(), watcher

    return extract
