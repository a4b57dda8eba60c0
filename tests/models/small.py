"""Small real models and sequences for the tests of models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vtnstream.config import BackboneConfig, HeadConfig, ModelConfig, TemporalConfig
from vtnstream.models.vtn.model import VTN
from vtnstream.types import Features, TokenTimes

TEMPORAL = TemporalConfig(
    num_layers=2, num_heads=4, intermediate_size=96, attention_window=(8,), max_positions=50
)
HEAD = HeadConfig(labels=("cat", "dog", "owl"), dense_labels=("background", "jump"))
CONFIG = ModelConfig(
    name="small", backbone=BackboneConfig("test_vit"), temporal=TEMPORAL, head=HEAD
)
NUM_FEATURES = 64
"""D of timm's test_vit."""


def small_vtn(
    *, feature_norm: str = "none", head: HeadConfig = HEAD, seed: int = 0, **temporal: Any
) -> VTN:
    """A VTN over timm's test_vit, with weights large enough that every path matters."""
    torch.manual_seed(seed)
    config = replace(
        CONFIG, feature_norm=feature_norm, head=head, temporal=replace(TEMPORAL, **temporal)
    )
    model = VTN(config).eval()
    stir(model)
    if feature_norm != "none":
        model.feature_norm.set_statistics(torch.randn(NUM_FEATURES), torch.rand(NUM_FEATURES) + 0.5)
    return model


def stir(module: torch.nn.Module, std: float = 0.2) -> None:
    """Set every parameter outside the backbone to random values, including biases and norms."""
    for name, parameter in module.named_parameters():
        if not name.startswith("backbone."):
            with torch.no_grad():
                parameter.normal_(std=std)


def sequence(count: int, size: int = NUM_FEATURES, *, seed: int = 0, gaps: bool = True) -> Features:
    """``count`` random feature vectors; with ``gaps``, some grid positions are skipped."""
    random = np.random.default_rng(seed)
    steps = random.choice([1, 1, 1, 4], size=count) if gaps else np.ones(count, int)
    indices = np.cumsum(steps).astype(np.int64)
    seconds = indices / 2.0
    values = random.standard_normal((count, size)).astype(np.float32)
    values += random.standard_normal(size).astype(np.float32)
    return Features(values, TokenTimes(indices, indices, seconds, seconds + 0.5))


def as_batch(features: Features) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, T, D) features and (1, T) positions of a sequence."""
    return torch.tensor(features.values)[None], torch.tensor(features.times.indices)[None]
