"""The recipes that are compared: a temporal encoder and how it is learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from vtnstream.config import HeadConfig, OptimConfig, TemporalConfig, TrainConfig

CONTEXT_SECONDS = 2.0
"""What the linear probe sees to each side of a moment."""

PASSES = 40
"""Over the training videos, where there are so few that each step takes one of them."""

ONE_BY_ONE = 20
"""Up to so many videos a step takes one; more make larger steps, so that their number stays."""


BLEND = "blend"
"""Name of the blend of two recipes, which is made of their networks and is no recipe of its own."""

BLENDED = ("tcn", "ms-tcn")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to train.

    Attributes:
        name: as ``--recipe`` takes it.
        about: what it is, in a line.
        make: the settings of a training with so many videos and tokens a second.
        is_linear: solved to its optimum rather than learned in steps.
        tasks: ``dense``, ``classification`` or both.
        competes: compared by ``auto``; others are used by name only.
    """

    name: str
    about: str
    make: Callable[[TrainConfig, int, float], TrainConfig]
    is_linear: bool = False
    tasks: tuple[str, ...] = ("dense", "classification")
    competes: bool = True


def _small_steps(num_videos: int, **changes: object) -> OptimConfig:
    """Adam on one video a step, or a twentieth of them."""
    base = OptimConfig(
        epochs=PASSES,
        batch_size=max(1, round(num_videos / ONE_BY_ONE)),
        learning_rate=1e-3,
        weight_decay=0.0,
        schedule="constant",
        warmup=0.0,
        label_smoothing=0.0,
        class_weights="root",
        steadiness=0.15,
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
        num_videos, schedule="cosine", warmup=0.1, average=0.98, steadiness=0.0, label_smoothing=0.1
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
    ),  # on few videos far behind the others, at the highest cost
    Recipe("attention", "the Longformer encoder", _attention, tasks=("classification",)),
)


def recipes_for(task: str) -> tuple[Recipe, ...]:
    """The recipes of a task, in the order they are tried."""
    return tuple(recipe for recipe in RECIPES if task in recipe.tasks)
