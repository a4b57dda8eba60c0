"""A user without config files, cache or variables; a video and a small model."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vtnstream.cli.main import main
from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    SamplingConfig,
    TemporalConfig,
)
from vtnstream.video.write import write_video


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Config and cache directories in ``tmp_path``; the current directory is empty."""
    for name in list(os.environ):
        if name.startswith("VTNSTREAM_"):
            monkeypatch.delenv(name)
    for name, folder in (("XDG_CONFIG_HOME", "config"), ("XDG_CACHE_HOME", "cache")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return tmp_path


@dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("vtnstream: error: ")]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command line in this process."""

    def run(*arguments: str | Path) -> Outcome:
        capsys.readouterr()
        code = main([os.fspath(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


SECONDS, RATE = 40, 10


def frames(seconds: int = SECONDS) -> Iterator[np.ndarray]:
    """Coarse noise that changes with every frame, brighter in every other ten seconds."""
    random = np.random.default_rng(0)
    for number in range(seconds * RATE):
        low = 128 if number // (10 * RATE) % 2 else 0
        blocks = random.integers(low, low + 128, (8, 8, 3), np.uint8)
        yield np.kron(blocks, np.ones((8, 8, 1), np.uint8))


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s at 10 frames/s."""
    path = tmp_path_factory.mktemp("film") / "film one.mp4"
    write_video(path, frames(), Fraction(RATE))
    return path


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is not a video."""
    path = tmp_path_factory.mktemp("broken") / "broken.mp4"
    path.write_bytes(b"not a video" * 1000)
    return path


@pytest.fixture(scope="session")
def damaged(video: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The video with overwritten packets."""
    data = bytearray(video.read_bytes())
    start = len(data) // 2
    data[start : start + len(data) // 20] = bytes(len(data) // 20)
    path = tmp_path_factory.mktemp("damaged") / "damaged.mp4"
    path.write_bytes(data)
    return path


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real model with both heads, whose predictions are scaled to differ."""
    import torch

    from vtnstream.models.create import create_model
    from vtnstream.models.io.checkpoint import save_model

    torch.manual_seed(0)
    config = ModelConfig(
        name="small",
        sampling=SamplingConfig(fps=Fraction(2)),
        preprocess=PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
        temporal=TemporalConfig(
            num_layers=2, num_heads=4, intermediate_size=128, attention_window=(16,)
        ),
        head=HeadConfig(labels=("calm", "wild"), dense_labels=("background", "dark", "light")),
    )
    model = create_model(config)
    with torch.no_grad():
        for head in (model.mlp_head, model.dense_head):
            for parameter in head.parameters():
                parameter.mul_(20)
    return save_model(model, tmp_path_factory.mktemp("models") / "small")
