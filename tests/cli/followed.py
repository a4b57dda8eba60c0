"""A model for tests of streams that are followed, and the frames of their videos."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    SamplingConfig,
    TemporalConfig,
)
from vtnstream.models.create import create_model
from vtnstream.models.io.checkpoint import save_model
from vtnstream.models.long_sequence.windows import encode_windows
from vtnstream.types import Features, TokenTimes


def draw(number: int, width: int, height: int) -> np.ndarray:
    """Draw coarse noise of changing brightness."""
    random = np.random.default_rng(number)
    level = int(100 + 90 * np.sin(number / 17) * np.sin(number / 61 + 1))
    blocks = random.integers(max(level - 40, 0), min(level + 40, 255), (8, 8, 3), np.uint8)
    return np.kron(blocks, np.ones((height // 8, width // 8, 1), np.uint8))


def save_varying_model(folder: Path) -> Path:
    """Save a small untrained model whose predictions vary: each label's logit has mean 0 over the
    windows."""
    torch.manual_seed(0)
    temporal = TemporalConfig(
        num_layers=1, num_heads=4, intermediate_size=64, attention_window=(8,)
    )
    model = create_model(
        ModelConfig(
            name="many-minds",
            sampling=SamplingConfig(fps=Fraction(2)),
            preprocess=PreprocessConfig(size=64, resize=64, mean=(0.5,) * 3, std=(0.5,) * 3),
            backbone=BackboneConfig("test_vit", {"img_size": 64}),
            temporal=temporal,
            head=HeadConfig(labels=("calm", "wild", "odd"), dense_labels=("background", "loud")),
        )
    ).eval()
    pictures = np.stack([draw(number, 64, 64) for number in range(0, 600, 5)])
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        values = model.encode_frames(pixels).numpy()
        grid = np.arange(len(values))
        features = Features(values, TokenTimes(grid, grid, grid / 2, grid / 2 + 0.5))
        starts = range(0, len(values) - 6, 3)
        found = np.stack([x for _, x in encode_windows(model, features, starts=starts, window=6)])
        last = model.mlp_head[-1]
        scale = torch.from_numpy(4 / found.std(0))
        last.bias.copy_((last.bias - torch.from_numpy(found.mean(0))) * scale)
        last.weight.mul_(scale[:, None])
    return save_model(model, folder)
