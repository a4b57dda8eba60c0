"""A film of 150 s whose picture changes all the time, and a small model with both heads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

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
from vtnstream.models.create import create_model
from vtnstream.models.vtn import VTN
from vtnstream.video.write import write_video

SECONDS, RATE = 150, 4


def noise_frames(seed: int = 0, count: int = SECONDS * RATE) -> Iterator[np.ndarray]:
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield np.kron(random.integers(0, 255, (8, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8))


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_video(path, noise_frames(), Fraction(RATE))
    return path


@pytest.fixture(scope="session")
def model() -> VTN:
    torch.manual_seed(0)
    config = ModelConfig(
        name="small",
        sampling=SamplingConfig(fps=Fraction(2)),
        preprocess=PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3),
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
        feature_norm="video_mean",
        temporal=TemporalConfig(
            num_layers=2, num_heads=4, intermediate_size=128, attention_window=(16,)
        ),
        head=HeadConfig(labels=("a", "b", "c"), dense_labels=("background", "x", "y", "z")),
    )
    model = create_model(config)
    with torch.no_grad():  # untrained heads answer nearly alike everywhere: sharpen them
        for head in (model.mlp_head, model.dense_head):
            for parameter in head.parameters():
                parameter.mul_(20)
    return model.eval()


@pytest.fixture
def runtime(tmp_path: Path) -> RuntimeConfig:
    return RuntimeConfig(cache_dir=tmp_path / "cache", batch_size=8)


@pytest.fixture
def other_runtime(runtime: RuntimeConfig, tmp_path: Path) -> RuntimeConfig:
    return replace(runtime, cache_dir=tmp_path / "other")
