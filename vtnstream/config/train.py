"""Configuration of training. ``vtnstream train`` reads it from TOML, flags and ``--set``."""

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
from vtnstream.config.optim import ON_TROUBLE, OptimConfig
from vtnstream.config.temporal import TemporalConfig, check_causal_norm
from vtnstream.config.vivit import ViViTConfig
from vtnstream.errors import ConfigError

TASKS = ("auto", "classification", "dense", "both")
UNLABELLED = ("auto", "background", "ignore")
RECIPES = ("auto", "own", "blend", "tcn", "ms-tcn", "probe", "attention")
ENSEMBLES = ("folds", "seeds", "none")
_MODES = ("frozen", "end-to-end", "two-stage")
RANDOM_WEIGHTS = "random"
_PRECISIONS = ("float32", "bfloat16", "float16")
_WEIGHT_INITS = ("xavier", "normal")


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The training and validation videos, and the sequences made of them.

    Attributes:
        format: format of the annotations (:data:`vtnstream.datasets.annotations.FORMATS`); ``auto``
            detects it.
        videos: folder of the videos; None is the folder of the annotations.
        validation: share of the videos (or of their groups) held out at random if the annotations
            name no split and ``validation_fold`` is not given; 0 holds out none.
        validation_fold: fold of the annotations that is the validation set.
        exclude_folds: folds to leave out of training and validation, such as the test fold.
        unlabelled: spans without a segment are learned as the class ``background``, or left
            out of the loss (``ignore``); ``auto`` decides by the annotations.
        max_tokens: longer sequences are cropped at random to this many tokens; [CLS] then covers
            the crop.
        clip_tokens: train on random clips of this many tokens; 0 trains on whole videos. With
            clips, positions start at 0 in each clip and sliding window.
        clip_seconds: duration over which the tokens of a clip are spread evenly (end-to-end); 0
            takes neighbouring tokens. The last frame is repeated if a video is shorter.
        on_bad_video: ``stop`` at a missing or undecodable video, or ``skip`` it with a warning;
            also for a video that disappears during training.
        memory_bytes: features up to this size are kept in memory; more are read from disk.
    """

    format: str = "auto"
    videos: str | None = None
    validation: float = 0.2
    validation_fold: str | None = None
    exclude_folds: tuple[str, ...] = ()
    unlabelled: str = "auto"
    max_tokens: int = 4096
    clip_tokens: int = 0
    clip_seconds: float = 0.0
    on_bad_video: str = "stop"
    memory_bytes: int = 2 * 2**30

    def __post_init__(self) -> None:
        one_of("data.on_bad_video", self.on_bad_video, ON_TROUBLE)
        one_of("data.unlabelled", self.unlabelled, UNLABELLED)
        if not 0 <= self.validation < 1:
            raise ConfigError(f"data.validation is a share from 0 to 1, not {self.validation}")
        if self.max_tokens < 1 or self.clip_tokens < 0:
            raise ConfigError("data.max_tokens must be positive, data.clip_tokens not negative")
        if self.clip_seconds < 0 or (self.clip_seconds and not self.clip_tokens):
            raise ConfigError("data.clip_seconds is positive and needs data.clip_tokens")


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """Augmentation when training from pixels; all frames of a clip are changed alike.

    Attributes:
        horizontal_flip: probability of a horizontal flip.
        vertical_flip: probability of a vertical flip.
        permute_channels: probability of a permutation of the colour channels.
        short_side: lowest and highest length in pixels to which the shorter side is scaled before
            a random square of the model's size is cropped; empty keeps the model's own
            preprocessing. Needs ``preprocess.crop = center``.
        rand_augment: operations and magnitude of RandAugment, as in [2, 9]; empty is off.
        colour_jitter: largest change of brightness, contrast and saturation; 0 is off.
        grey: probability of conversion to grey.
        erasing: probability of erasing (blackening) a random box.
    """

    horizontal_flip: float = 0.5
    vertical_flip: float = 0.0
    permute_channels: float = 0.0
    short_side: tuple[int, ...] = ()
    rand_augment: tuple[int, ...] = ()
    colour_jitter: float = 0.0
    grey: float = 0.0
    erasing: float = 0.0

    def __post_init__(self) -> None:
        flips = ("horizontal_flip", "vertical_flip", "permute_channels")
        for name in (*flips, "colour_jitter", "grey", "erasing"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name} is a share from 0 to 1: {getattr(self, name)}")
        sides = self.short_side
        if sides and (len(sides) != 2 or not 0 < sides[0] <= sides[1]):
            raise ConfigError("augment.short_side has two lengths in pixels, the lower first")
        drawn = self.rand_augment
        if drawn and not (len(drawn) == 2 and drawn[0] > 0 and 0 <= drawn[1] <= 30):
            raise ConfigError("augment.rand_augment is [operations, magnitude from 0 to 30]")

    @property
    def is_strong(self) -> bool:
        """Whether colours are changed or boxes erased."""
        return bool(self.rand_augment or self.colour_jitter or self.grey or self.erasing)


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """Checkpoints, from which an interrupted run resumes.

    Attributes:
        seconds: time between two checkpoints, or more if saving takes long; 0 saves after each
            step.
        on_error: ``stop`` if a checkpoint cannot be saved (a full disk), or ``skip`` it with a
            warning. The previous checkpoint is kept in either case.
    """

    seconds: float = 60.0
    on_error: str = "stop"

    def __post_init__(self) -> None:
        one_of("checkpoint.on_error", self.on_error, ON_TROUBLE)
        if not self.seconds >= 0:
            raise ConfigError(f"checkpoint.seconds cannot be negative: {self.seconds}")


def _small_encoder() -> TemporalConfig:
    """Return a small encoder, for training on hundreds of videos."""
    return TemporalConfig(num_layers=2, num_heads=4, hidden_size=128, intermediate_size=256)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Configuration of one training run.

    Attributes:
        mode: ``frozen`` trains the temporal encoder and heads on stored features of a frozen
            backbone; ``end-to-end`` also trains the backbone, from pixels; ``two-stage`` runs the
            first into ``output/frozen`` with the settings ``first``, then the second from there.
        annotations: a file or folder (see :mod:`vtnstream.datasets.annotations`).
        output: the model folder to write.
        class_annotations: classes of whole videos (path,label) in addition to segment annotations;
            both heads are then trained.
        task: ``classification`` trains the MLP head on [CLS], ``dense`` the dense head, ``both``
            both; ``auto`` is what the annotations allow.
        seed: random seed of weights, order, crops and dropout.
        recipe: ``auto`` cross-validates recipes on the stored features and uses the best, if there
            are fewer than some 500 videos and ``temporal`` and ``optim`` are the defaults; ``own``
            trains as ``temporal`` and ``optim`` say; a name fixes one.
        search_seconds: time limit of the comparison; 0 means no limit.
        ensemble: the networks of a convolutional recipe whose probabilities are averaged: ``folds``
            takes those of the comparison (of a blend, those of the second recipe are trained on
            all videos); ``seeds`` trains three on all videos, from different seeds; ``none``
            trains one on all videos.
        start: model folder whose weights training starts from, except heads of other labels; empty
            initialises encoder and heads at random.
        weights: weights of the backbone: a file, a folder or ``hf-hub:org/name``; ``random`` means
            untrained weights (without it they cause a warning).
        pretrained: download timm's pretrained weights of the backbone.
        sampling: selection of the frames that become tokens.
        backbone: timm name and arguments.
        preprocess: differences from the backbone's own preprocessing, such as ``mean``.
        feature_norm: as in :class:`~vtnstream.config.ModelConfig`. ``video_mean`` subtracts what
            all frames of a video share, so that a single token tells less of the whole video.
        temporal: the temporal encoder; ``hidden_size`` projects the features.
        vivit: configuration of a ViViT (preset ``vivit-*``), which has no ``temporal``; it is
            trained from pixels on clips of its ``num_frames``.
        weight_init: initialisation of encoder and heads: ``xavier`` depends on the width of the
            layers and suits narrow encoders (a third of the epochs on the videos of the demo);
            ``normal`` is the paper's N(0, 0.02).
        augment: augmentation of clips, end-to-end only.
        precision: precision of the arithmetic; weights stay float32. Anything but ``float32``
            needs the extra ``train``.
        checkpoint: checkpoints for resuming an interrupted run.
        head: dropout and width of the MLP head; labels come from the annotations.
        data: videos and sequences.
        optim: optimisation.
        first: optimisation of the first stage of ``two-stage``.
    """

    mode: str = "frozen"
    annotations: str = ""
    class_annotations: str = ""
    output: str = ""
    task: str = "auto"
    seed: int = 0
    recipe: str = "auto"
    search_seconds: float = 240.0
    ensemble: str = "folds"
    start: str = ""
    weights: str | None = None
    pretrained: bool = False
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    feature_norm: str = "dataset"
    temporal: TemporalConfig = field(default_factory=_small_encoder)
    vivit: ViViTConfig | None = None
    weight_init: str = "xavier"
    head: HeadConfig = field(default_factory=HeadConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    first: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    precision: str = "float32"
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        one_of("mode", self.mode, _MODES)
        one_of("recipe", self.recipe, RECIPES)
        one_of("ensemble", self.ensemble, ENSEMBLES)
        if not self.search_seconds >= 0:
            raise ConfigError(f"search_seconds cannot be negative: {self.search_seconds}")
        one_of("precision", self.precision, _PRECISIONS)
        kept = ("none", "video_mean", "dataset") if self.start else ("none", "video_mean")
        if self.mode == "end-to-end" and self.feature_norm not in kept:
            raise ConfigError(
                "feature_norm: end-to-end training changes the features: set feature_norm to none"
            )
        if self.mode == "frozen":
            self._check_frozen()
        one_of("task", self.task, TASKS)
        one_of("feature_norm", self.feature_norm, FEATURE_NORMS)
        one_of("weight_init", self.weight_init, _WEIGHT_INITS)
        check_causal_norm(self.temporal, self.feature_norm)
        if self.head.labels or self.head.dense_labels or self.head.heads:
            raise ConfigError("head: labels come from the annotations: leave them out")
        if self.head.multi_label:
            raise ConfigError("head.multi_label: training supports one label per moment only")
        if self.vivit is not None:
            self._check_vivit()
        if self.augment.short_side and self.preprocess.get("crop", "center") != "center":
            raise ConfigError("augment.short_side crops squares: set preprocess.crop = center")
        if self.weights is not None and self.pretrained:
            raise ConfigError("weights and pretrained exclude each other")

    def _check_frozen(self) -> None:
        """Reject settings that have no effect in this mode."""
        needs_pixels = {
            "data.clip_seconds": self.data.clip_seconds,
            "optim.cutmix": self.optim.cutmix,
            "optim.stochastic_depth": self.optim.stochastic_depth,
            "optim.layer_decay": self.optim.layer_decay != 1,
            "optim.backbone_factor": self.optim.backbone_factor != 1,
            "augment": self.augment.short_side or self.augment.is_strong,
        }
        for name, given in needs_pixels.items():
            if given:
                raise ConfigError(f"{name} needs pixels: set mode = end-to-end")

    def _check_vivit(self) -> None:
        if self.vivit is not None and self.sampling.kind == "rate":
            self.vivit.check_rate(self.sampling.fps)
        if self.mode == "frozen":
            raise ConfigError("a ViViT is trained from pixels: set mode = end-to-end")
        if self.task not in ("auto", "classification") or self.class_annotations:
            raise ConfigError("a ViViT is trained to classify clips: set task = classification")
        if self.data.clip_tokens or self.data.clip_seconds:
            raise ConfigError("a ViViT's clips have vivit.num_frames: leave data.clip_* out")
        if self.feature_norm != "none":
            raise ConfigError("a ViViT needs feature_norm none: set feature_norm to none")
