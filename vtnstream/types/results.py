"""Results of a model for one video: scores, segments, attention and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
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
class HeadClasses:
    """The classes of the whole video by one of several class heads.

    Attributes:
        name: of the head, such as ``verb``.
        classes: all its classes, best first.
    """

    name: str
    classes: tuple[ClassScore, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A labelled interval ``[start, end)`` in seconds of the video.

    ``score`` is the mean of its tokens' probabilities, or the highest match for a search. ``track``
    is ``dense`` or ``sliding`` if a report has both, else None. ``rank`` numbers the segments of
    one query of a search; 1 is the best. ``shot`` numbers the shots of a video from 1, in order of
    time; other segments have None.
    """

    start: float
    end: float
    label: str
    score: float
    track: str | None = None
    rank: int | None = None
    shot: int | None = None

    @property
    def name(self) -> str:
        """The label, for a shot with its number: ``shot 12``."""
        return self.label if self.shot is None else f"{self.label} {self.shot}"


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The result of a search for one query in one video.

    Attributes:
        label: name of the query.
        found: whether the video shows it.
        match: highest match over the video, 0 to 1; below 0.5 counts as not found.
        at: time of that match in seconds of the video.
        similarity: of the video to an example, to put videos in order; None for words alone.
    """

    label: str
    found: bool
    match: float
    at: float
    similarity: float | None = None

    @property
    def order(self) -> float:
        """What puts videos in the order of a query: the similarity, or the match of words, both
        higher for better."""
        return self.match if self.similarity is None else self.similarity


@dataclass(frozen=True, slots=True, eq=False)
class ScoreTimeline:
    """Probabilities of K labels for each of N tokens.

    Attributes:
        scores: (N, K) float32; rows sum to 1 unless ``multi_label``.
        times: the N tokens; a segment never crosses a gap in them.
        labels: K names.
        multi_label: whether scores are sigmoid scores, so that classes may overlap.
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


@dataclass(frozen=True, slots=True, eq=False)
class FrameScores:
    """The numbers by which a timeline was cut, for each of N tokens.

    Attributes:
        values: (N, C) float32; NaN where a token has no such number.
        times: the N tokens.
        columns: C names.
    """

    values: FloatArray
    times: TokenTimes
    columns: tuple[str, ...]

    def __post_init__(self) -> None:
        check_shape("values", self.values, np.float32, len(self.times), len(self.columns))

    def __repr__(self) -> str:
        return f"FrameScores({self.values.shape}, {self.times!r})"


@dataclass(frozen=True, slots=True)
class Partial:
    """Why a result is incomplete, and what is missing."""

    reasons: tuple[str, ...]
    seconds_read: float
    """Seconds of the requested range that tokens cover."""
    seconds_expected: float | None
    gaps: tuple[tuple[float, float], ...] = ()
    """Intervals ``[start, end)`` in seconds without tokens."""
    num_packet_errors: int = 0
    num_corrupt: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class AttentionMap:
    """Attention weights of the [CLS] token in one video (paper figure 3).

    Attributes:
        weights: (L, H, N) float32, for L layers and H heads. Each row plus the attention of [CLS]
            to itself sums to 1.
        times: times of the N tokens.
    """

    weights: FloatArray
    times: TokenTimes

    def __post_init__(self) -> None:
        check_shape("weights", self.weights, np.float32, None, None, len(self.times))

    def __repr__(self) -> str:
        return f"AttentionMap({self.weights.shape}, {self.times!r})"

    def row(self, layer: int | None = -1, head: int | None = None) -> FloatArray:
        """Return the weights (N,) of one layer and head; None averages over all layers or heads.

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
        start, end: start and end of its token in seconds of the video.
        weight: share of the attention that the token receives, 0 to 1.
        multiple: that share divided by the mean over all tokens.
    """

    start: float
    end: float
    weight: float
    multiple: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity over ``[start, end)`` in seconds of the video, averaged over equal bins.

    Attributes:
        values: mean of each bin; None for a bin without tokens.
    """

    start: float
    end: float
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ScoreCurve(Curve):
    """The probability of one label over time.

    Attributes:
        label: the label.
        low: lowest score in each bin, or None if bins hold one token each.
        high: highest score in each bin, likewise.
        track: ``dense`` or ``sliding`` if a report has both, else None.
    """

    label: str
    low: tuple[float | None, ...] | None = None
    high: tuple[float | None, ...] | None = None
    track: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The result for one video. The Python API returns it, and every writer reads it."""

    input: str
    video: VideoInfo
    model: Mapping[str, Any]
    """Name, source and hashes of the model."""
    classes: tuple[ClassScore, ...] = ()
    """Classes of the whole video, best first; empty for models without a class head. Of a model
    with several class heads they are the best combinations, with the product of the
    probabilities."""
    segments: tuple[Segment, ...] | None = None
    """Segments of the timeline; None if no timeline was requested."""
    labels: tuple[str, ...] = ()
    """Labels of the timeline in the model's order, which also determines their colours."""
    start_seconds: float = 0.0
    end_seconds: float = 0.0
    """``start_seconds`` and ``end_seconds`` delimit the analysed part of the video."""
    partial: Partial | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options that shaped the timeline (localize, window, stride, smoothing ...)."""
    attention: Curve | None = None
    """Attention of [CLS] over time in the last layer, averaged over the heads, as a multiple of
    uniform attention; None if the model has no such attention."""
    scores: tuple[ScoreCurve, ...] = ()
    """Curves of the most prominent labels of the timeline, before smoothing."""
    frame_rate: Fraction | None = None
    """Frames per second if the rate is constant; None if it varies or frames were not counted."""
    frames: FrameIndex | None = None
    """Frame numbers, counted while the video was read; None if they were not counted."""
    thumbnails: tuple[Thumbnail | None, ...] = ()
    """One thumbnail per segment, or empty. HTML pages show them; JSON files do not hold them."""
    frame_scores: FrameScores | None = None
    """The scores of each token, if the request asks for them. JSON files do not hold them."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """Information on the run: tokens, seconds, rates, versions, device, cache hit."""
    warnings: tuple[str, ...] = ()
    answers: tuple[QueryAnswer, ...] = ()
    """One answer per query of a search; empty without a search."""
    score_name: str = PROBABILITY
    """Name of the scores: ``probability``, or ``match`` if frames are compared with words or
    examples, whose scores are no probabilities."""
    heads: tuple[HeadClasses, ...] = ()
    """Classes by each of several class heads; empty for models with one."""

    @property
    def covered(self) -> tuple[tuple[float, float], ...]:
        """Spans ``[start, end)`` in seconds of the analysed part without the gaps in it."""
        found, place = [], self.start_seconds
        for start, end in sorted(self.partial.gaps if self.partial else ()):
            if start > place:
                found.append((place, min(start, self.end_seconds)))
            place = max(place, end)
        if place < self.end_seconds:
            found.append((place, self.end_seconds))
        return tuple(found)

    def with_best(self, count: int) -> Report:
        """Return the report with the ``count`` best classes, and as many of each head."""
        heads = tuple(replace(head, classes=head.classes[:count]) for head in self.heads)
        return replace(self, classes=self.classes[:count], heads=heads)
