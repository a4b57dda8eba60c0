"""How a model is trained: ``vtnstream train`` reads these from TOML, flags and ``--set``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vtnstream.config.checks import one_of
from vtnstream.config.model import (
    FEATURE_NORMS,
    BackboneConfig,
    HeadConfig,
    SamplingConfig,
)
from vtnstream.config.temporal import TemporalConfig, check_causal_norm
from vtnstream.errors import ConfigError

TASKS = ("auto", "classification", "dense", "both")
MODES = ("frozen", "end-to-end")
SCHEDULES = ("onecycle", "cosine", "constant")
CLASS_WEIGHTS = ("none", "balanced", "root")
RANDOM_WEIGHTS = "random"
ON_BAD_VIDEO = ("stop", "skip")
WEIGHT_INITS = ("xavier", "normal")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which videos are learned from, and in what pieces.

    Attributes:
        format: of the annotations (:data:`vtnstream.datasets.annotations.FORMATS`); ``auto``
            recognises it.
        videos: folder the videos lie in; None is that of the annotations.
        validation: share of the videos (or of their groups) held out at random where the
            annotations name no split and ``validation_fold`` is not given; 0 holds out none.
        validation_fold: this fold of the annotations is the validation set.
        exclude_folds: folds that training never sees, such as the one to test on.
        max_tokens: longer sequences are cropped to a random window of as many tokens, with
            [CLS] over the window; all of a sequence that fits is used.
        clip_tokens: train on clips of so many tokens at random places instead of whole
            videos (0); positions then start at 0 in each clip and sliding window.
        on_bad_video: ``stop`` at a missing or undecodable video, or ``skip`` it and say so.
        memory_bytes: features up to this size are held in memory, more are read from disk.
    """

    format: str = "auto"
    videos: str | None = None
    validation: float = 0.2
    validation_fold: str | None = None
    exclude_folds: tuple[str, ...] = ()
    max_tokens: int = 4096
    clip_tokens: int = 0
    on_bad_video: str = "stop"
    memory_bytes: int = 2 * 2**30

    def __post_init__(self) -> None:
        one_of("data.on_bad_video", self.on_bad_video, ON_BAD_VIDEO)
        if not 0 <= self.validation < 1:
            raise ConfigError(f"data.validation is a share from 0 to 1, not {self.validation}")
        if self.max_tokens < 1 or self.clip_tokens < 0:
            raise ConfigError("data.max_tokens must be positive, data.clip_tokens not negative")


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Changes to clips when training from pixels, one draw for all frames of a clip.

    Attributes:
        horizontal_flip: probability of a mirrored clip.
        vertical_flip: probability of one upside down.
        permute_channels: probability of red, green and blue changing places.
    """

    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    permute_channels: float = 0.0

    def __post_init__(self) -> None:
        for name in ("horizontal_flip", "vertical_flip", "permute_channels"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name} is a probability, not {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """AdamW and its schedule.

    Attributes:
        epochs: passes over the training set.
        batch_size: sequences a step.
        batch_tokens: fewer sequences where they are so long that a padded batch would hold
            more tokens than this.
        learning_rate: its highest value.
        weight_decay: on matrices; biases, norms, [CLS] and position tables have none.
        schedule: after ``warmup`` (a share of all steps) ``onecycle`` and ``cosine`` fall
            along a half cosine to nearly 0, ``constant`` stays; ``onecycle`` also rises
            along a cosine, the others in a line.
        warmup: share of the steps in which the learning rate rises.
        grad_clip: largest norm of the gradient.
        label_smoothing: share of the target spread over all classes.
        class_weights: ``balanced`` weights each class by the inverse of its frequency,
            ``root`` by the inverse of its square root, for classes that are very rare.
        mixup: alpha of mixup on features (classification only); 0 is off.
        patience: stop after so many epochs without a better validation score; None never.
            Long-context tasks stand on a plateau for some epochs before they fall: under
            10 stops too early.
    """

    epochs: int = 40
    batch_size: int = 16
    batch_tokens: int = 32768
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    schedule: str = "onecycle"
    warmup: float = 0.2
    grad_clip: float = 1.0
    label_smoothing: float = 0.1
    class_weights: str = "none"
    mixup: float = 0.0
    patience: int | None = None

    def __post_init__(self) -> None:
        one_of("optim.schedule", self.schedule, SCHEDULES)
        one_of("optim.class_weights", self.class_weights, CLASS_WEIGHTS)
        for name in ("epochs", "batch_size", "batch_tokens", "learning_rate", "grad_clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"optim.{name} must be positive, not {getattr(self, name)}")
        for name in ("weight_decay", "mixup"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"optim.{name} cannot be negative: {getattr(self, name)}")
        for name in ("warmup", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"optim.{name} is a share from 0 to 1")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"optim.patience must be at least 1, not {self.patience}")


def _small_encoder() -> TemporalConfig:
    """An encoder for hundreds of videos rather than hundreds of thousands."""
    return TemporalConfig(num_layers=2, num_heads=4, hidden_size=128, intermediate_size=256)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training.

    Attributes:
        mode: ``frozen`` learns temporal encoder and heads on stored features of a backbone
            that stays as it is; ``end-to-end`` learns the backbone with them, from pixels.
        annotations: a file or folder (see :mod:`vtnstream.datasets.annotations`).
        output: the model folder to write.
        class_annotations: classes of whole videos (path,label) beside annotations that are
            segments: both heads are learned.
        task: ``classification`` trains the MLP head on [CLS], ``dense`` the dense head,
            ``both`` both; ``auto`` is what the annotations allow.
        seed: fixes weights, order, crops and dropout.
        weights: of the backbone: a file, a folder or ``hf-hub:org/name``; ``random`` where
            untrained ones are meant (without it they are warned of).
        pretrained: fetch timm's weights of the backbone's tag.
        sampling: which frames become tokens.
        backbone: timm name and arguments.
        preprocess: differences from the backbone's own preprocessing, such as ``mean``.
        feature_norm: as in :class:`~vtnstream.config.ModelConfig`. ``video_mean`` takes off
            what all frames of a video share, and with it what little of the whole a single
            token could tell.
        temporal: the encoder; ``hidden_size`` projects the features.
        weight_init: start of encoder and head: ``xavier`` follows the layers' width, so that
            narrow encoders learn too (a third of the epochs on the demo's films);
            ``normal`` is the paper's N(0, .02).
        augment: changes to clips, end-to-end only.
        head: dropout and width of the MLP head; labels come from the annotations.
        data: which videos, in what pieces.
        optim: how they are learned.
    """

    mode: str = "frozen"
    annotations: str = ""
    class_annotations: str = ""
    output: str = ""
    task: str = "auto"
    seed: int = 0
    weights: str | None = None
    pretrained: bool = False
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    feature_norm: str = "dataset"
    temporal: TemporalConfig = field(default_factory=_small_encoder)
    weight_init: str = "xavier"
    head: HeadConfig = field(default_factory=HeadConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        one_of("mode", self.mode, MODES)
        if self.mode == "end-to-end" and self.feature_norm not in ("none", "video_mean"):
            raise ConfigError(
                "end-to-end training changes the features while it learns: set feature_norm to none"
            )
        if self.mode == "end-to-end" and self.optim.mixup:
            raise ConfigError("optim.mixup mixes stored features: it needs mode = frozen")
        one_of("task", self.task, TASKS)
        one_of("feature_norm", self.feature_norm, FEATURE_NORMS)
        one_of("weight_init", self.weight_init, WEIGHT_INITS)
        check_causal_norm(self.temporal, self.feature_norm)
        if self.head.labels or self.head.dense_labels:
            raise ConfigError("head: labels come from the annotations, leave them out")
        if self.head.multi_label:
            raise ConfigError("head.multi_label: training knows one label a moment only")
        if self.weights is not None and self.pretrained:
            raise ConfigError("weights and pretrained exclude each other")
