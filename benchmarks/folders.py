"""Write model folders with random weights, on which speed and memory do not depend."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    SamplingConfig,
    TemporalConfig,
)
from vtnstream.models.backbone import native_preprocess
from vtnstream.models.create import create_model
from vtnstream.models.io.checkpoint import save_model
from vtnstream.models.presets import preset


def labels(count: int) -> tuple[str, ...]:
    return tuple(f"class {number}" for number in range(count))


def write_small_model(
    folder: Path, backbone: str, *, fps: str = "2", hidden_size: int = 0, classes: int = 3
) -> Path:
    """Write a model with both heads over any backbone; ``video_mean`` needs one pass more."""
    config = BackboneConfig(backbone)
    model = ModelConfig(
        name="small",
        sampling=SamplingConfig(fps=Fraction(fps)),
        backbone=config,
        preprocess=native_preprocess(config),
        feature_norm="video_mean",
        temporal=TemporalConfig(
            num_layers=3, num_heads=4, hidden_size=hidden_size, intermediate_size=512
        ),
        head=HeadConfig(labels=labels(classes), dense_labels=labels(classes)),
    )
    return save_model(create_model(model), folder)


def write_preset(folder: Path, name: str, *, classes: int, image_size: int = 0) -> Path:
    """Write the model of a preset.

    ``image_size`` gives a ViT backbone smaller frames, for shorter runs with the same number of
    features.
    """
    config = preset(name)
    if image_size:
        config = dataclasses.replace(
            config,
            backbone=dataclasses.replace(config.backbone, arguments={"img_size": image_size}),
            preprocess=dataclasses.replace(config.preprocess, size=image_size, resize=image_size),
        )
    return save_model(create_model(config, labels=labels(classes)), folder)
