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
from vtnstream.config.optim import ON_TROUBLE, OptimConfig
from vtnstream.config.temporal import TemporalConfig, check_causal_norm
from vtnstream.config.vivit import ViViTConfig
from vtnstream.errors import ConfigError

TASKS = ("auto", "classification", "dense", "both")
UNLABELLED = ("auto", "background", "ignore")
MODES = ("frozen", "end-to-end", "two-stage")
RANDOM_WEIGHTS = "random"
PRECISIONS = ("float32", "bfloat16", "float16")
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
        unlabelled: spans without a segment are learned as the class ``background``, or left
            out of the loss (``ignore``); ``auto`` decides by the annotations.
        max_tokens: longer sequences are cropped to a random window of as many tokens, with
            [CLS] over the window; all of a sequence that fits is used.
        clip_tokens: train on clips of so many tokens at random places instead of whole
            videos (0); positions then start at 0 in each clip and sliding window.
        clip_seconds: footprint that the clip's tokens are spread over evenly (end-to-end); 0
            takes neighbouring tokens. The last frame is repeated where a video is shorter.
        on_bad_video: ``stop`` at a missing or undecodable video, or ``skip`` it and say so;
            also where it goes missing while training runs.
        memory_bytes: features up to this size are held in memory, more are read from disk.
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
    """Changes to clips when training from pixels, one draw for all frames of a clip.

    Attributes:
        horizontal_flip: probability of a mirrored clip.
        vertical_flip: probability of one upside down.
        permute_channels: probability of red, green and blue changing places.
        short_side: lowest and highest length in pixels that the short side is scaled to before
            a square of the model's size is cut out at a random place; empty leaves pictures as
            the model sees them. Needs ``preprocess.crop = center``.
        rand_augment: operations and magnitude of RandAugment, as [2, 9]; empty is off.
        colour_jitter: largest change of brightness, contrast and saturation; 0 is off.
        grey: probability of a clip without colours.
        erasing: probability of a box of a clip being black.
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
    """What a training leaves while it runs, so that one that was killed goes on.

    Attributes:
        seconds: between two savings, or more where saving takes long; 0 saves after each step.
        on_error: ``stop`` where a saving fails (a full disk), or ``skip`` it, say so and try
            again at the next; the last one stands in either case.
    """

    seconds: float = 60.0
    on_error: str = "stop"

    def __post_init__(self) -> None:
        one_of("checkpoint.on_error", self.on_error, ON_TROUBLE)
        if not self.seconds >= 0:
            raise ConfigError(f"checkpoint.seconds cannot be negative: {self.seconds}")


def _small_encoder() -> TemporalConfig:
    """An encoder for hundreds of videos rather than hundreds of thousands."""
    return TemporalConfig(num_layers=2, num_heads=4, hidden_size=128, intermediate_size=256)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training.

    Attributes:
        mode: ``frozen`` learns temporal encoder and heads on stored features of a backbone
            that stays as it is; ``end-to-end`` learns the backbone with them, from pixels;
            ``two-stage`` does the first, as ``first`` says and into ``output/frozen``, and
            goes on from there with the second.
        annotations: a file or folder (see :mod:`vtnstream.datasets.annotations`).
        output: the model folder to write.
        class_annotations: classes of whole videos (path,label) beside annotations that are
            segments: both heads are learned.
        task: ``classification`` trains the MLP head on [CLS], ``dense`` the dense head,
            ``both`` both; ``auto`` is what the annotations allow.
        seed: fixes weights, order, crops and dropout.
        start: a model folder whose weights training starts from, all but the heads of other
            labels; empty starts encoder and heads at random.
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
        vivit: of a ViViT (preset ``vivit-*``), which has no ``temporal``; it learns from
            pixels, on clips of its ``num_frames``.
        weight_init: start of encoder and head: ``xavier`` follows the layers' width, so that
            narrow encoders learn too (a third of the epochs on the demo's films);
            ``normal`` is the paper's N(0, .02).
        augment: changes to clips, end-to-end only.
        precision: of the arithmetic while learning; weights stay float32. Less than
            ``float32`` needs the extra ``train``.
        checkpoint: what is left for a training that was killed.
        head: dropout and width of the MLP head; labels come from the annotations.
        data: which videos, in what pieces.
        optim: how they are learned.
        first: the same of the first stage of ``two-stage``.
    """

    mode: str = "frozen"
    annotations: str = ""
    class_annotations: str = ""
    output: str = ""
    task: str = "auto"
    seed: int = 0
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
        one_of("mode", self.mode, MODES)
        one_of("precision", self.precision, PRECISIONS)
        kept = ("none", "video_mean", "dataset") if self.start else ("none", "video_mean")
        if self.mode == "end-to-end" and self.feature_norm not in kept:
            raise ConfigError(
                "end-to-end training changes the features while it learns: set feature_norm to none"
            )
        if self.mode == "frozen":
            self._check_frozen()
        one_of("task", self.task, TASKS)
        one_of("feature_norm", self.feature_norm, FEATURE_NORMS)
        one_of("weight_init", self.weight_init, WEIGHT_INITS)
        check_causal_norm(self.temporal, self.feature_norm)
        if self.head.labels or self.head.dense_labels:
            raise ConfigError("head: labels come from the annotations, leave them out")
        if self.head.multi_label:
            raise ConfigError("head.multi_label: training knows one label a moment only")
        if self.vivit is not None:
            self._check_vivit()
        if self.augment.short_side and self.preprocess.get("crop", "center") != "center":
            raise ConfigError("augment.short_side cuts squares: it needs preprocess.crop = center")
        if self.weights is not None and self.pretrained:
            raise ConfigError("weights and pretrained exclude each other")

    def _check_frozen(self) -> None:
        """What would be ignored is refused."""
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
                raise ConfigError(f"{name} needs pixels: it goes with mode = end-to-end")

    def _check_vivit(self) -> None:
        if self.vivit is not None and self.sampling.kind == "rate":
            self.vivit.check_rate(self.sampling.fps)
        if self.mode == "frozen":
            raise ConfigError("a ViViT learns from pixels: set mode = end-to-end")
        if self.task not in ("auto", "classification") or self.class_annotations:
            raise ConfigError("a ViViT is trained for classes of clips: set task = classification")
        if self.data.clip_tokens or self.data.clip_seconds:
            raise ConfigError("a ViViT's clips are vivit.num_frames: leave data.clip_* out")
        if self.feature_norm != "none":
            raise ConfigError("a ViViT is trained with feature_norm none")
