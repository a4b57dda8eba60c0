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


@torch.no_grad()
def spread_answers(model: VTN) -> None:
    """Untrained heads answer alike everywhere: scale them until windows and tokens differ."""
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
        backbone=BackboneConfig("test_vit", {"img_size": 64}),
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
