"""Generated feature sequences for the training tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vtnstream.config import (
    BackboneConfig,
    DataConfig,
    HeadConfig,
    ModelConfig,
    OptimConfig,
    PreprocessConfig,
    TemporalConfig,
    TrainConfig,
)
from vtnstream.datasets.annotations import AnnotatedVideo, Annotation
from vtnstream.models.create import create_model
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.token_inputs import TokenInputs
from vtnstream.training.data.batches import Batch, Crop, assemble, read_crop
from vtnstream.training.data.targets import Sample
from vtnstream.types import Features, TokenTimes

WIDTH = 64
"""D of timm's test_vit."""


def times(count: int, *, rate: float = 2.0, missing: tuple[int, ...] = ()) -> TokenTimes:
    indices = np.array([i for i in range(count) if i not in missing], np.int64)
    return TokenTimes(indices, indices * 512, indices / rate, (indices + 1) / rate)


def features(count: int, seed: int = 0, width: int = WIDTH) -> Features:
    values = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return Features(values, times(count))


def video(name: str = "a.mp4", *labels: str, **about: str | None) -> AnnotatedVideo:
    lines = tuple(Annotation(label, line=n) for n, label in enumerate(labels or ("x",), 2))
    return AnnotatedVideo(Path(name), lines, **about)


def class_sample(label: int, count: int, seed: int) -> Sample:
    """Return a sample whose class is the sign of the first feature of one random token."""
    made = features(count, seed)
    made.values[:] *= 0.3
    made.values[seed % count, 0] = 4.0 if label else -4.0
    return Sample(video(f"{seed}.mp4"), made, 0, count, label)


def dense_sample(count: int, seed: int) -> Sample:
    """Return a sample in which the class of each token is the sign of its first feature."""
    made = features(count, seed)
    targets = (made.values[:, 0] > 0).astype(np.int64)
    return Sample(video(f"{seed}.mp4"), made, 0, count, targets=targets)


def model(*, dense: bool = False, seed: int = 0, **temporal: object) -> VTN:
    import torch

    torch.manual_seed(seed)
    labels = ("background", "x") if dense else ("no", "yes")
    small = {
        "num_layers": 2,
        "num_heads": 2,
        "hidden_size": 16,
        "intermediate_size": 32,
        "attention_window": (4,),
        "dropout": 0.0,
        "attention_dropout": 0.0,
    }
    config = ModelConfig(
        backbone=BackboneConfig("test_vit"),
        preprocess=PreprocessConfig(size=160, resize=160),
        temporal=TemporalConfig(**{**small, **temporal}),
        head=HeadConfig(dense_labels=labels) if dense else HeadConfig(labels=labels, dropout=0.0),
    )
    return create_model(config)


def settings(
    *, data: dict[str, object] | None = None, mode: str = "frozen", **optim: object
) -> TrainConfig:
    fast = {
        "epochs": 12,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "label_smoothing": 0.0,
        "weight_decay": 0.0,
    }
    return TrainConfig(
        mode=mode,
        feature_norm="none",
        data=DataConfig(**(data or {})),
        optim=OptimConfig(**{**fast, **optim}),
    )


def collate(
    crops: Sequence[Crop], token_inputs: TokenInputs | None = None, *, clip_positions: bool = False
) -> Batch:
    rows = [read_crop(crop, token_inputs) for crop in crops]
    return assemble(crops, rows, clip_positions=clip_positions)
