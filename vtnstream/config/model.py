"""The config of a model: saved resolved as ``config.json`` beside ``model.safetensors``,
it rebuilds the model by itself and says how frames must be sampled and prepared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vtnstream.config.checks import one_of, positive
from vtnstream.config.loading import to_dict
from vtnstream.config.temporal import TemporalConfig, check_causal_norm
from vtnstream.config.vivit import ViViTConfig
from vtnstream.errors import ConfigError
from vtnstream.labels import BACKGROUND

ARCHITECTURES = ("vtn", "vivit")
SAMPLING_KINDS = ("rate", "uniform", "stride", "all", "keyframes")
FEATURE_NORMS = ("none", "dataset", "video_mean", "running_mean")
CROP_MODES = ("center", "squash", "border")
INTERPOLATIONS = ("bicubic", "bilinear", "area", "lanczos")


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """Which frames become tokens.

    ``rate``: grid t = k / ``fps`` from the container's start, the frame on screen at t.
    ``uniform``: ``num_frames`` over the range, ``floor(linspace(0, n - 1, num_frames))``.
    ``stride``: every ``stride``-th frame. ``all``: every frame. ``keyframes``: keyframes.
    """

    kind: str = "rate"
    fps: Fraction = Fraction(2)
    num_frames: int = 250
    stride: int = 8

    def __post_init__(self) -> None:
        one_of("sampling.kind", self.kind, SAMPLING_KINDS)
        positive(fps=float(self.fps), num_frames=self.num_frames, stride=self.stride)

    def describe(self, frames: int = 1) -> str:
        """A few words for people: ``2 frames/s``, ``250 frames``, ``every 8th frame``.

        Args:
            frames: that a token is made of (``6.25 times 2 frames/s``).
        """
        if self.kind == "rate" and frames > 1:
            return f"{float(self.fps):g} times {frames} frames/s"
        rate = str(self.fps) if self.fps.denominator < 1000 else f"{float(self.fps):.3f}"
        text = {
            "rate": f"{rate} frame/s" if rate == "1" else f"{rate} frames/s",
            "uniform": f"{self.num_frames} frames, evenly spaced",
            "stride": f"every {self.stride}. frame",
            "all": "every frame",
            "keyframes": "keyframes",
        }[self.kind]
        return f"{text}, {frames} to a token" if frames > 1 else text

    def key(self) -> dict[str, Any]:
        """Only what decides the grid: part of the feature key."""
        parts: dict[str, Any] = {"kind": self.kind}
        if self.kind == "rate":
            parts["fps"] = str(self.fps)
        elif self.kind == "uniform":
            parts["num_frames"] = self.num_frames
        elif self.kind == "stride":
            parts["stride"] = self.stride
        return parts


@dataclass(frozen=True, slots=True)
class PreprocessConfig:
    """How a picture becomes a model input, the model's own and never guessed.

    ``center``: the short side is scaled to ``resize``, then ``size`` x ``size`` is cut from
    the centre. ``squash``: scaled to ``resize`` x ``resize`` regardless of aspect, then cut.
    ``border``: the long side is scaled to ``resize``, the rest is black, then cut.

    ``width`` makes pictures of ``squash`` oblong: they are ``size`` high and ``width`` wide,
    and ``resize`` stays the height before the cut. 0 is a square.
    """

    size: int = 224
    resize: int = 256
    crop: str = "center"
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    width: int = 0

    def __post_init__(self) -> None:
        one_of("preprocess.crop", self.crop, CROP_MODES)
        one_of("preprocess.interpolation", self.interpolation, INTERPOLATIONS)
        positive(size=self.size, resize=self.resize)
        if self.size > self.resize:
            raise ConfigError(f"preprocess.resize {self.resize} is smaller than size {self.size}")
        if len(self.mean) != 3 or len(self.std) != 3:
            raise ConfigError("preprocess.mean and preprocess.std have three numbers each")
        for value in self.std:
            positive(std=value)
        if not all(map(math.isfinite, self.mean)):
            raise ConfigError(f"preprocess.mean must be finite, not {list(self.mean)}")
        if self.width < 0 or (self.width and self.crop != "squash"):
            raise ConfigError("preprocess.width is positive and needs preprocess.crop = squash")

    @property
    def frame_width(self) -> int:
        """Pixels across; ``size`` is the height."""
        return self.width or self.size

    def key(self) -> dict[str, Any]:
        """What decides the pictures: part of the feature key."""
        parts = to_dict(self)
        if not self.width:
            del parts["width"]
        return parts


@dataclass(frozen=True, slots=True)
class BackboneConfig:
    """A timm model by name, with the arguments ``timm.create_model`` gets.

    ``out_index`` takes one of its inner feature maps (timm's ``features_only``, counted from
    the largest) instead of its pooled output: averaged over a ``grid`` of rows and columns,
    flattened to D = channels x rows x columns, so that a vector knows where in the picture
    something is. ``projection`` puts a linear layer of so many numbers and a LayerNorm
    behind it; 0 leaves it as it is.
    """

    name: str = "vit_base_patch16_224.augreg_in21k"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    out_index: int | None = None
    grid: tuple[int, ...] = (1, 1)
    projection: int = 0

    def __post_init__(self) -> None:
        if len(self.grid) != 2:
            raise ConfigError("backbone.grid has two numbers, rows and columns")
        positive(grid=min(self.grid))
        if self.out_index is None and (self.grid != (1, 1) or self.projection):
            raise ConfigError("backbone.grid and backbone.projection need backbone.out_index")
        if (self.out_index or 0) < 0 or self.projection < 0:
            raise ConfigError("backbone.out_index and backbone.projection cannot be negative")

    def key(self) -> dict[str, Any]:
        """What shapes its features beside name and weights: part of the feature key."""
        parts = dict(self.arguments)
        if self.out_index is not None:
            parts.update(out_index=self.out_index, grid=list(self.grid), projection=self.projection)
        return parts


@dataclass(frozen=True, slots=True)
class EventsConfig:
    """Dense labels that are moments or transitions, see
    :mod:`vtnstream.localization.events`.

    Attributes:
        moments: labels of single tokens, found as peaks; each begins a new segment.
        joined: labels judged by their sum, then told apart.
        held: labels of a shot that stops before the next event (freeze).
        moment_threshold: lowest score of a peak.
        joined_threshold: lowest sum of the joined labels.
        apart: tokens between two moments at least.
        shortest: tokens of a joined stretch at least.
        gap: tokens across which two joined stretches are one.
        steady: tokens of every other label at least, between two events.
    """

    moments: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    moment_threshold: float = 0.5
    joined_threshold: float = 0.5
    apart: int = 2
    shortest: int = 4
    gap: int = 2
    steady: int = 4

    def __post_init__(self) -> None:
        named = (*self.moments, *self.joined, *self.held)
        if len(set(named)) != len(named):
            raise ConfigError("events: a label is either a moment, joined, or held")
        for name in ("moment_threshold", "joined_threshold"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"events.{name} must lie above 0 and not above 1")
        for name, lowest in (("apart", 1), ("shortest", 1), ("gap", 0), ("steady", 1)):
            if getattr(self, name) < lowest:
                raise ConfigError(f"events.{name} must be at least {lowest}")


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """What is read from the tokens.

    ``labels``: classes of the whole video, through the MLP head on [CLS] (paper section
    3.3). ``dense_labels``: classes of each token, through the dense head. Either may be
    empty. ``mlp_dim`` 0 means the encoder's D. ``linear`` makes the head on [CLS] one linear
    layer. Logits are divided by ``temperature``, those of tokens by ``dense_temperature``: values
    found on held-out videos make scores honest (Guo et al., ICML 2017). ``events``: how the
    dense labels become segments where some of them are moments.
    """

    labels: tuple[str, ...] = ()
    dense_labels: tuple[str, ...] = ()
    mlp_dim: int = 0
    dropout: float = 0.5
    multi_label: bool = False
    linear: bool = False
    temperature: float = 1.0
    dense_temperature: float = 1.0
    events: EventsConfig | None = None

    def __post_init__(self) -> None:
        positive(temperature=self.temperature, dense_temperature=self.dense_temperature)
        for name in ("labels", "dense_labels"):
            labels = getattr(self, name)
            if len(set(labels)) != len(labels):
                raise ConfigError(f"head.{name}: a label is named twice")
        if self.events is not None:
            self._check_events(self.events)

    def _check_events(self, events: EventsConfig) -> None:
        if not self.dense_labels:  # a recipe, before its labels are known
            return
        if self.multi_label:
            raise ConfigError("head.events: labels that exclude each other are needed")
        for label in (*events.moments, *events.joined, *events.held):
            if label not in self.dense_labels:
                raise ConfigError(f"head.events: {label!r} is not among the dense labels")
        others = {*events.moments, *events.joined, *events.held, BACKGROUND}
        if not set(self.dense_labels) - others:
            raise ConfigError("head.events: one dense label at least must last between events")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything needed to rebuild a model, saved as ``config.json``.

    ``architecture``: ``vtn`` reads the backbone's features of frames with the ``temporal``
    encoder; ``vivit`` reads tubelets as its table ``vivit`` says, over the blocks of
    ``backbone``, and has no ``temporal``.
    """

    name: str = "vtn"
    architecture: str = "vtn"
    schema: int = 1
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    feature_norm: str = "none"
    """``none``; ``dataset``: (x - mean) / std of the training set; ``video_mean``: minus the
    mean over the whole selected range, / std; ``running_mean``: the same, causally."""
    temporal: TemporalConfig = field(default_factory=TemporalConfig)
    vivit: ViViTConfig | None = None
    head: HeadConfig = field(default_factory=HeadConfig)

    def __post_init__(self) -> None:
        one_of("architecture", self.architecture, ARCHITECTURES)
        one_of("feature_norm", self.feature_norm, FEATURE_NORMS)
        check_causal_norm(self.temporal, self.feature_norm)
        if self.schema != 1:
            raise ConfigError(f"schema {self.schema} is newer than this vtnstream: update it")
        if (self.architecture == "vivit") != (self.vivit is not None):
            raise ConfigError('architecture "vivit" and a table [vivit] belong together')
        if self.vivit is not None:
            self._check_vivit(self.vivit)

    @property
    def frames_per_token(self) -> int:
        """1 in a VTN, t in a ViViT."""
        return 1 if self.vivit is None else self.vivit.tubelet[0]

    def _check_vivit(self, vivit: ViViTConfig) -> None:
        if self.temporal != TemporalConfig():
            raise ConfigError("temporal belongs to a VTN: a ViViT is described by [vivit]")
        if self.head.mlp_dim:
            raise ConfigError("head.mlp_dim belongs to a VTN: a ViViT's head is one linear layer")
        if not vivit.reads_sequences and (self.head.dense_labels or self.feature_norm != "none"):
            what = "head.dense_labels" if self.head.dense_labels else "feature_norm"
            raise ConfigError(
                f"{what}: form {vivit.form!r} sees clips as a whole; only the factorised-encoder "
                "has features of single moments"
            )
        if self.sampling.kind == "rate":
            vivit.check_rate(self.sampling.fps)
