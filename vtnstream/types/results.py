"""What a model says of a video: scores, segments, attention, the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from vtnstream.types.arrays import FloatArray, check_shape
from vtnstream.types.frame_index import FrameIndex
from vtnstream.types.frames import TokenTimes
from vtnstream.types.video import Thumbnail, VideoInfo

PROBABILITY, MATCH = "probability", "match"
"""Names of scores."""


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class of the whole video and its probability."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A labelled span ``[start, end)`` in seconds of the source; ``score`` is the mean of
    its tokens' probabilities, or in a search the match at its peak. ``track`` is ``dense`` or
    ``sliding`` where both are shown. ``rank`` counts the segments of one query of a search from
    the best, which is 1."""

    start: float
    end: float
    label: str
    score: float
    track: str | None = None
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What a search answers to one query in one video.

    Attributes:
        label: the query's name.
        found: whether it is shown; False is an answer of its own.
        match: the highest match over the video, 0 to 1; below 0.5 counts as absent.
        at: seconds of the source at which it is reached.
    """

    label: str
    found: bool
    match: float
    at: float


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTimeline:
    """Probabilities of K labels for each of N tokens.

    Attributes:
        scores: (N, K) float32; rows sum to 1 unless ``multi_label``.
        times: the N tokens; a segment never crosses a gap in them.
        labels: K names.
        multi_label: sigmoid scores, classes overlap freely.
        track: ``dense`` or ``sliding``.
    """

    scores: FloatArray
    times: TokenTimes
    labels: tuple[str, ...]
    multi_label: bool = False
    track: str = "dense"

    def __post_init__(self) -> None:
        check_shape("scores", self.scores, np.float32, len(self.times), len(self.labels))

    def __repr__(self) -> str:
        return f"ScoreTimeline({self.scores.shape}, {self.track}, {self.times!r})"


@dataclass(frozen=True, slots=True)
class Partial:
    """Why and how far a result is incomplete."""

    reasons: tuple[str, ...]
    seconds_read: float
    """Seconds of the requested range that tokens cover."""
    seconds_expected: float | None
    gaps: tuple[tuple[float, float], ...] = ()
    """Spans without tokens, ``[start, end)`` in seconds."""
    num_packet_errors: int = 0
    num_corrupt: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class AttentionMap:
    """What [CLS] looked at in one video (paper Fig. 3).

    Attributes:
        weights: (L, H, N) float32 of every layer and head; with what [CLS] gives itself each
            row sums to 1.
        times: the N tokens.
    """

    weights: FloatArray
    times: TokenTimes

    def __post_init__(self) -> None:
        check_shape("weights", self.weights, np.float32, None, None, len(self.times))

    def __repr__(self) -> str:
        return f"AttentionMap({self.weights.shape}, {self.times!r})"

    def row(self, layer: int | None = -1, head: int | None = None) -> FloatArray:
        """(N,) weights of one layer and head; None is the mean over all.

        Raises:
            IndexError: there is no such layer or head.
        """
        layers = self.weights if layer is None else self.weights[layer][None]
        heads = layers if head is None else layers[:, head][:, None]
        return np.asarray(heads.mean((0, 1)), np.float32)


@dataclass(frozen=True, slots=True)
class Moment:
    """A peak of attention.

    Attributes:
        start, end: of its token, in seconds of the source.
        weight: share of all attention the token gets, 0 to 1.
        multiple: the same relative to the mean over all tokens.
    """

    start: float
    end: float
    weight: float
    multiple: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over ``[start, end)`` in seconds of the source, drawn in equal parts.

    Attributes:
        values: the mean over each part; None where no token lies.
    """

    start: float
    end: float
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ScoreCurve(Curve):
    """The probability of one label over time.

    Attributes:
        label: whose.
        low: the lowest token of each part, where parts hold several; else None.
        high: the highest.
        track: ``dense`` or ``sliding`` where both are shown.
    """

    label: str
    low: tuple[float | None, ...] | None = None
    high: tuple[float | None, ...] | None = None
    track: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The result for one video: what every writer reads and the Python API returns."""

    input: str
    video: VideoInfo
    model: Mapping[str, Any]
    """Name, source and hashes of the model that answered."""
    classes: tuple[ClassScore, ...] = ()
    """Classes of the whole video, best first; empty for models without a class head."""
    segments: tuple[Segment, ...] | None = None
    """None where no timeline was asked for."""
    labels: tuple[str, ...] = ()
    """Labels of the timeline in the model's order (colours follow it)."""
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    """The range of source time that was analysed."""
    partial: Partial | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options that shaped the timeline (localize, window, stride, smoothing ...)."""
    attention: Curve | None = None
    """How much [CLS] looked at each moment in its last layer, mean over the heads, as a
    multiple of looking everywhere alike (1); None where the model has no such attention."""
    scores: tuple[ScoreCurve, ...] = ()
    """Curves of the most prominent labels of the timeline, before smoothing."""
    frame_rate: Fraction | None = None
    """Frames a second where all frames lie on this grid; None where the rate varies or frames
    were not counted."""
    frames: FrameIndex | None = None
    """Numbers of the frames, counted when the video was read; None where they were not."""
    thumbnails: tuple[Thumbnail | None, ...] = ()
    """One for each segment, or none at all; only pages show them, nothing stores them."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """Facts of the run: tokens, seconds, rates, versions, device, cached or decoded."""
    warnings: tuple[str, ...] = ()
    answers: tuple[QueryAnswer, ...] = ()
    """One for each query of a search; empty where nothing was searched for."""
    score_name: str = PROBABILITY
    """What scores are called: ``probability``, or ``match`` where frames are compared with words
    or examples, whose scores are no probabilities."""
