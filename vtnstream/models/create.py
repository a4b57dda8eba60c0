"""Create untrained models from presets and configs."""

from __future__ import annotations

import dataclasses

import torch

from vtnstream.config import ModelConfig
from vtnstream.errors import UsageError
from vtnstream.models.architectures import VideoModel, build_model
from vtnstream.models.backbone import create_backbone
from vtnstream.models.presets import preset
from vtnstream.models.vtn.model import VTN


def create_model(
    preset_or_config: str | ModelConfig,
    *,
    num_classes: int | None = None,
    labels: tuple[str, ...] | None = None,
    dense_labels: tuple[str, ...] | None = None,
    device: str | torch.device = "cpu",
    pretrained_backbone: bool = False,
    position_init: str = "sinusoidal",
) -> VideoModel:
    """Create an untrained model, in training mode.

    Args:
        preset_or_config: name of a preset, or a config.
        num_classes: number of classes of a video; they are named ``class_0`` and so on.
        labels: names of these classes.
        dense_labels: names of the classes of each token.
        device: of the model; ``meta`` allocates no weights.
        pretrained_backbone: download timm's weights for the backbone; a ViViT inflates them.
        position_init: initialisation of a learned position table of a VTN: ``sinusoidal`` with
            amplitude 1, or ``normal``, the paper's N(0, .02).

    Raises:
        UsageError: the preset is unknown, or the labels do not match ``num_classes``.
        ModelError: no model can be built from the config.
    """
    config = preset(preset_or_config) if isinstance(preset_or_config, str) else preset_or_config
    config = _with_labels(config, _names(num_classes, labels), dense_labels)
    with torch.device(device):
        backbone = create_backbone(config.backbone, pretrained=pretrained_backbone)
        model = build_model(config, backbone)
        if position_init != "sinusoidal" and isinstance(model, VTN):
            model.temporal_encoder.reset_parameters(position_init)
    return model


def _names(num_classes: int | None, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if num_classes is None:
        return labels
    if num_classes < 1:
        raise UsageError(f"num_classes must be at least 1, not {num_classes}")
    if labels is None:
        return tuple(f"class_{number}" for number in range(num_classes))
    if len(labels) != num_classes:
        raise UsageError(f"{len(labels)} labels for num_classes={num_classes}")
    return labels


def _with_labels(
    config: ModelConfig, labels: tuple[str, ...] | None, dense_labels: tuple[str, ...] | None
) -> ModelConfig:
    head = config.head
    if labels is not None:
        head = dataclasses.replace(head, labels=tuple(labels))
    if dense_labels is not None:
        head = dataclasses.replace(head, dense_labels=tuple(dense_labels))
    return dataclasses.replace(config, head=head)
