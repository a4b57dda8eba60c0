"""Configuration of a model. It is stored as ``config.json`` next to ``model.safetensors``, and
suffices to rebuild the model and to sample and preprocess its frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vtnstream.config.checks import one_of, positive
from vtnstream.config.class_heads import ClassHead, split_heads
from vtnstream.config.loading import to_dict
from vtnstream.config.temporal import TemporalConfig, check_causal_norm
from vtnstream.config.vivit import ViViTConfig
from vtnstream.errors import ConfigError
from vtnstream.labels import BACKGROUND

_ARCHITECTURES = ("vtn", "vivit")
_SAMPLING_KINDS = ("rate", "uniform", "stride", "all", "keyframes")
FEATURE_NORMS = ("none", "dataset", "video_mean", "running_mean")
CROP_MODES = ("center", "squash", "border")
_BARS = ("keep", "crop")
_CROP_ROUNDINGS = ("half-even", "floor", "ceil")
INTERPOLATIONS = ("bicubic", "bilinear", "area", "lanczos")


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """The selection of the frames that become tokens.

    ``rate``: the frames displayed at t = k / ``fps``, counted from the start of the container.
    ``uniform``: ``num_frames`` of the n frames in the range, at ``floor(linspace(0, n - 1,
    num_frames))``. ``stride``: every ``stride``-th frame. ``all``: every frame. ``keyframes``:
    every keyframe.
    """

    kind: str = "rate"
    fps: Fraction = Fraction(2)
    num_frames: int = 250
    stride: int = 8

    def __post_init__(self) -> None:
        one_of("sampling.kind", self.kind, _SAMPLING_KINDS)
        positive(fps=float(self.fps), num_frames=self.num_frames, stride=self.stride)

    def describe(self, frames: int = 1) -> str:
        """Return a short description: ``2 frames/s``, ``250 frames, evenly spaced``, ``every 8th
        frame``.

        Args:
            frames: frames per token (``6.25 times 2 frames/s``).
        """
        if self.kind == "rate" and frames > 1:
            return f"{float(self.fps):g} times {frames} frames/s"
        rate = str(self.fps) if self.fps.denominator < 1000 else f"{float(self.fps):.3f}"
        text = {
            "rate": f"{rate} frame/s" if rate == "1" else f"{rate} frames/s",
            "uniform": f"{self.num_frames} frames, evenly spaced",
            "stride": f"every {_ordinal(self.stride)} frame",
            "all": "every frame",
            "keyframes": "keyframes",
        }[self.kind]
        return f"{text}, {frames} per token" if frames > 1 else text

    def key(self) -> dict[str, Any]:
        """Return the fields that determine the grid; they are part of the feature key."""
        parts: dict[str, Any] = {"kind": self.kind}
        if self.kind == "rate":
            parts["fps"] = str(self.fps)
        elif self.kind == "uniform":
            parts["num_frames"] = self.num_frames
        elif self.kind == "stride":
            parts["stride"] = self.stride
        return parts


def _ordinal(number: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if 11 <= number % 100 <= 13 else suffix}"


@dataclass(frozen=True, slots=True)
class PreprocessConfig:
    """The preprocessing that turns a frame into a model input. Each model defines its own.

    ``center`` scales the shorter side to ``resize`` and crops ``size`` x ``size`` pixels from the
    centre. ``squash`` scales to ``resize`` x ``resize`` regardless of the aspect ratio, then crops
    likewise. ``border`` scales the longer side to ``resize``, pads with black, then crops.

    With ``squash``, ``width`` makes the input rectangular: ``size`` pixels high and ``width``
    wide, and ``resize`` is the height before the crop. 0 means a square.

    ``crop_rounding`` rounds the start of a crop whose border is no whole number of pixels:
    ``half-even`` as torchvision and timm, ``floor`` as transformers, ``ceil`` as PySlowFast. An
    imported model keeps the rounding of the code it was trained with.

    ``bars`` is ``crop`` to leave out bars of one colour at the sides of a whole video before
    scaling.
    """

    size: int = 224
    resize: int = 256
    crop: str = "center"
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    width: int = 0
    crop_rounding: str = "half-even"
    bars: str = "keep"

    def __post_init__(self) -> None:
        one_of("preprocess.crop", self.crop, CROP_MODES)
        one_of("preprocess.bars", self.bars, _BARS)
        one_of("preprocess.crop_rounding", self.crop_rounding, _CROP_ROUNDINGS)
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
        """Width of the model input in pixels; ``size`` is its height."""
        return self.width or self.size

    def key(self) -> dict[str, Any]:
        """Return the fields that determine the model input; they are part of the feature key."""
        parts = to_dict(self)
        if not self.width:
            del parts["width"]
        if self.crop_rounding == "half-even":
            del parts["crop_rounding"]
        if self.bars == "keep":
            del parts["bars"]
        return parts


@dataclass(frozen=True, slots=True)
class BackboneConfig:
    """A timm model by name, with the arguments of ``timm.create_model``.

    ``out_index`` selects a feature map (timm's ``features_only``, counted from the largest)
    instead of the pooled output. The map is averaged over a ``grid`` of rows and columns and
    flattened to D = channels x rows x columns, so that features keep positions in the frame.
    ``projection`` adds a linear layer of that many outputs and a LayerNorm; 0 adds none.
    ``thumbnail`` appends the frame itself, averaged over that many rows and columns. The temporal
    encoder does not read it; the events of a timeline are checked against it.
    """

    name: str = "vit_base_patch16_224.augreg_in21k"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    out_index: int | None = None
    grid: tuple[int, ...] = (1, 1)
    projection: int = 0
    thumbnail: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.thumbnail and (len(self.thumbnail) != 2 or min(self.thumbnail) < 1):
            raise ConfigError("backbone.thumbnail has two positive numbers, rows and columns")
        if self.thumbnail and self.out_index is None:
            raise ConfigError("backbone.thumbnail needs backbone.out_index")
        if len(self.grid) != 2:
            raise ConfigError("backbone.grid has two numbers, rows and columns")
        positive(grid=min(self.grid))
        if self.out_index is None and (self.grid != (1, 1) or self.projection):
            raise ConfigError("backbone.grid and backbone.projection need backbone.out_index")
        if (self.out_index or 0) < 0 or self.projection < 0:
            raise ConfigError("backbone.out_index and backbone.projection cannot be negative")

    def key(self) -> dict[str, Any]:
        """Return the arguments that determine the features besides name and weights; they are
        part of the feature key."""
        parts = dict(self.arguments)
        if self.out_index is not None:
            parts.update(out_index=self.out_index, grid=list(self.grid), projection=self.projection)
        if self.thumbnail:
            parts["thumbnail"] = list(self.thumbnail)
        return parts

    @property
    def num_thumbnail(self) -> int:
        """Size of the thumbnail in a feature vector, whose last numbers it is."""
        return 3 * self.thumbnail[0] * self.thumbnail[1] if self.thumbnail else 0


_NUM_EVIDENCE = 8
"""Number of weights of :attr:`EventsConfig.evidence`."""


@dataclass(frozen=True, slots=True)
class EventsConfig:
    """Dense labels that are moments or transitions, see :mod:`vtnstream.localization.events`.

    Attributes:
        moments: labels of single tokens, found as peaks; each begins a new segment.
        joined: labels whose scores are added to find a segment, which then gets the best of them.
        held: labels that last until the end of a shot (freeze).
        moment_threshold: lowest score of a peak.
        joined_threshold: lowest sum of the scores of ``joined``.
        moment_distance: smallest distance between two moments in tokens.
        joined_length: shortest segment of ``joined`` in tokens.
        joined_gap: longest gap in tokens over which two segments of ``joined`` are merged.
        event_gap: fewest tokens of every other label between two events.
        held_length: fewest tokens of a ``held`` label; a shorter one is a part of its shot.
        fps: frame rate at which these counts hold. At another rate they are scaled to the same
            time. 0 leaves them as they are.
        evidence: weights of a logistic regression that computes the confidence of a moment from
            the network's score and the change of the frames: bias, logit of the score, and the
            logarithms of ``ratio``, ``standout``, ``change``, ``lasting``, ``spread`` and 1 -
            ``likeness`` of
            :class:`~vtnstream.localization.view_changes.ViewChanges`. Empty takes the network's
            score alone. Needs ``backbone.thumbnail``.
        joined_peak: lowest maximum of the scores of a segment of ``joined``.
        joined_mean: lowest mean of them.
        view_change: lowest difference (of 255) between the frames before and after a segment of
            ``joined``; segments with a smaller one are no transitions.
        added_colors: highest share of positions whose colours within a segment of ``joined`` are
            outside the range of those before and after it. A dissolve or wipe mixes the colours of
            two shots; a passing object adds other colours.
    """

    moments: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    moment_threshold: float = 0.5
    joined_threshold: float = 0.5
    moment_distance: int = 2
    joined_length: int = 4
    joined_gap: int = 2
    event_gap: int = 4
    held_length: int = 1
    fps: float = 0.0
    evidence: tuple[float, ...] = ()
    joined_peak: float = 0.0
    joined_mean: float = 0.0
    view_change: float = 0.0
    added_colors: float = 1.0

    def __post_init__(self) -> None:
        if self.evidence and len(self.evidence) != _NUM_EVIDENCE:
            raise ConfigError(f"events.evidence has {_NUM_EVIDENCE} numbers or none")
        if not all(map(math.isfinite, (*self.evidence, self.fps, self.view_change))):
            raise ConfigError("events.evidence, events.fps and events.view_change must be finite")
        if self.fps < 0 or self.view_change < 0:
            raise ConfigError("events.fps and events.view_change cannot be negative")
        for name in ("joined_peak", "joined_mean", "added_colors"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"events.{name} must be between 0 and 1")
        named = (*self.moments, *self.joined, *self.held)
        if len(set(named)) != len(named):
            raise ConfigError("events: a label may be only one of moments, joined and held")
        for name in ("moment_threshold", "joined_threshold"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"events.{name} must be above 0 and at most 1")
        counts = {
            "moment_distance": 1,
            "joined_length": 1,
            "joined_gap": 0,
            "event_gap": 1,
            "held_length": 1,
        }
        for name, lowest in counts.items():
            if getattr(self, name) < lowest:
                raise ConfigError(f"events.{name} must be at least {lowest}")


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """The classification heads.

    ``labels`` are the classes of the MLP head on [CLS], for the whole video (paper section 3.3).
    ``dense_labels`` are the classes of the dense head, for each token. Either may be empty.
    ``mlp_dim`` is the hidden size of the MLP; 0 means the encoder's D. ``linear`` replaces the MLP
    by one linear layer. Logits are divided by ``temperature``, those of tokens by
    ``dense_temperature``; values fitted on held-out videos calibrate the scores (Guo et al., ICML
    2017). ``events`` turns dense labels into segments if some of them are moments. ``heads`` names
    several class heads, such as ``verb`` and ``noun``; ``labels`` are then ``verb:take`` and so on.
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
    heads: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        split_heads(self.heads, self.labels)
        if self.heads and self.multi_label:
            raise ConfigError("head.heads cannot be combined with head.multi_label")
        positive(temperature=self.temperature, dense_temperature=self.dense_temperature)
        for name in ("labels", "dense_labels"):
            labels = getattr(self, name)
            if len(set(labels)) != len(labels):
                raise ConfigError(f"head.{name}: a label is named twice")
        if self.events is not None:
            self._check_events(self.events)

    @property
    def class_heads(self) -> tuple[ClassHead, ...]:
        """The class heads: one without a name, those of ``heads``, or none without labels."""
        return split_heads(self.heads, self.labels)

    @property
    def class_sizes(self) -> tuple[int, ...]:
        """Number of labels of each class head, in the order of the class logits."""
        return tuple(len(head.labels) for head in self.class_heads)

    def _check_events(self, events: EventsConfig) -> None:
        if not self.dense_labels:  # a recipe, before its labels are known
            return
        if self.multi_label:
            raise ConfigError("head.events cannot be combined with head.multi_label")
        for label in (*events.moments, *events.joined, *events.held):
            if label not in self.dense_labels:
                raise ConfigError(f"head.events: {label!r} is not among the dense labels")
        others = {*events.moments, *events.joined, *events.held, BACKGROUND}
        if not set(self.dense_labels) - others:
            raise ConfigError("head.events: at least one dense label must be no event")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Everything needed to rebuild a model, stored as ``config.json``.

    ``architecture``: a ``vtn`` applies the ``temporal`` encoder to frame features of the
    ``backbone``; a ``vivit`` applies the blocks of ``backbone`` to tubelets as configured in
    ``vivit``, and does not use ``temporal``.
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
        one_of("architecture", self.architecture, _ARCHITECTURES)
        one_of("feature_norm", self.feature_norm, FEATURE_NORMS)
        check_causal_norm(self.temporal, self.feature_norm)
        if self.schema != 1:
            raise ConfigError(
                f"schema {self.schema} is newer than this vtnstream: update vtnstream"
            )
        if (self.architecture == "vivit") != (self.vivit is not None):
            raise ConfigError('architecture "vivit" requires a table [vivit], and the reverse')
        if self.vivit is not None:
            self._check_vivit(self.vivit)

    @property
    def frames_per_token(self) -> int:
        """Frames per token: 1 in a VTN, t in a ViViT."""
        return 1 if self.vivit is None else self.vivit.tubelet[0]

    def _check_vivit(self, vivit: ViViTConfig) -> None:
        if self.temporal != TemporalConfig():
            raise ConfigError("temporal is for a VTN: configure a ViViT in [vivit]")
        if self.head.mlp_dim:
            raise ConfigError("head.mlp_dim is for a VTN: a ViViT's head is one linear layer")
        if not vivit.reads_sequences and (self.head.dense_labels or self.feature_norm != "none"):
            what = "head.dense_labels" if self.head.dense_labels else "feature_norm"
            raise ConfigError(
                f"{what}: form {vivit.form!r} has no features per token: use the form "
                "factorised-encoder"
            )
        if self.sampling.kind == "rate":
            vivit.check_rate(self.sampling.fps)
