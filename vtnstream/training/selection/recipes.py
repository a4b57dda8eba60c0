"""The recipes that are compared: a temporal encoder and its training settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from vtnstream.config import HeadConfig, OptimConfig, TemporalConfig, TrainConfig

CONTEXT_SECONDS = 2.0
"""Seconds on each side of a token that the linear probe sees."""

PASSES = 40
"""Epochs over so few videos that each step takes one of them."""

ONE_BY_ONE = 20
"""Up to this number of videos, a step takes one; with more videos steps take more, so that the
number of steps stays the same."""


BLEND = "blend"
"""Name of the blend of two recipes, which is made of their networks without a fit of its own."""

BLENDED = ("tcn", "ms-tcn")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to train a model.

    Attributes:
        name: value of ``--recipe``.
        about: description in one line.
        make: returns the training config for a number of videos and of tokens per second.
        is_linear: whether it is solved to its optimum instead of trained in steps.
        tasks: ``dense``, ``classification`` or both.
        competes: whether ``auto`` compares it; others are used by name only.
    """

    name: str
    about: str
    make: Callable[[TrainConfig, int, float], TrainConfig]
    is_linear: bool = False
    tasks: tuple[str, ...] = ("dense", "classification")
    competes: bool = True


def _small_steps(num_videos: int, **changes: object) -> OptimConfig:
    """Return Adam with one video per step, or a twentieth of them."""
    base = OptimConfig(
        epochs=PASSES,
        batch_size=max(1, round(num_videos / ONE_BY_ONE)),
        learning_rate=1e-3,
        weight_decay=0.0,
        schedule="constant",
        warmup=0.0,
        label_smoothing=0.0,
        class_weights="root",
        temporal_smoothing=0.15,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def _tcn(**changes: object) -> TemporalConfig:
    base = TemporalConfig(
        kind="tcn",
        positions="none",
        num_layers=7,
        num_stages=3,
        hidden_size=64,
        num_heads=1,
        dropout=0.5,
    )
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def _ms_tcn(config: TrainConfig, num_videos: int, rate: float) -> TrainConfig:
    temporal = _tcn(causal=config.temporal.causal)
    return dataclasses.replace(config, temporal=temporal, optim=_small_steps(num_videos))


def _tcn_few(config: TrainConfig, num_videos: int, rate: float) -> TrainConfig:
    optim = _small_steps(
        num_videos, schedule="cosine", warmup=0.1, learning_rate=2e-3, average=0.98
    )
    temporal = _tcn(
        token_inputs="feature+difference",
        input_dropout=0.3,
        local_attention=True,
        num_heads=4,
        causal=config.temporal.causal,
    )
    return dataclasses.replace(config, temporal=temporal, optim=optim)


def _probe(config: TrainConfig, num_videos: int, rate: float) -> TrainConfig:
    context = max(round(CONTEXT_SECONDS * rate), 1)
    causal = config.temporal.causal
    temporal = _tcn(
        num_layers=0,
        num_stages=1,
        hidden_size=0,
        token_inputs="feature" if causal else "feature+context",
        context=context,
        causal=causal,
    )
    return dataclasses.replace(config, temporal=temporal, head=HeadConfig(linear=True))


def _mean_probe(config: TrainConfig, num_videos: int, rate: float) -> TrainConfig:
    temporal = _tcn(num_layers=0, num_stages=1, hidden_size=0, causal=config.temporal.causal)
    return dataclasses.replace(config, temporal=temporal, head=HeadConfig(linear=True))


def _class_tcn(config: TrainConfig, num_videos: int, rate: float) -> TrainConfig:
    optim = _small_steps(
        num_videos,
        schedule="cosine",
        warmup=0.1,
        average=0.98,
        temporal_smoothing=0.0,
        label_smoothing=0.1,
    )
    temporal = _tcn(
        num_layers=4,
        num_stages=1,
        dropout=0.3,
        token_inputs="feature+difference",
        input_dropout=0.3,
        causal=config.temporal.causal,
    )
    return dataclasses.replace(config, temporal=temporal, optim=optim)


def _attention(config: TrainConfig, num_videos: int, rate: float) -> TrainConfig:
    return config


RECIPES = (
    Recipe("tcn", "convolutions and attention, differences, averages", _tcn_few, tasks=("dense",)),
    Recipe("tcn", "convolutions and differences", _class_tcn, tasks=("classification",)),
    Recipe("ms-tcn", "MS-TCN: 3 stages of 7 dilated layers", _ms_tcn, tasks=("dense",)),
    Recipe("probe", "linear, with 2 s of context", _probe, is_linear=True, tasks=("dense",)),
    Recipe("probe", "linear, on the mean of a video", _mean_probe, True, tasks=("classification",)),
    Recipe(
        "attention", "the Longformer encoder", _attention, tasks=("dense",), competes=False
    ),  # on few videos much worse than the others, and the slowest
    Recipe("attention", "the Longformer encoder", _attention, tasks=("classification",)),
)


def recipes_for(task: str) -> tuple[Recipe, ...]:
    """Return the recipes of a task in the order in which they are tried."""
    return tuple(recipe for recipe in RECIPES if task in recipe.tasks)
