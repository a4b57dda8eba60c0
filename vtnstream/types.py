"""The nouns that travel through vtnstream, in the order data meets them.

path -> VideoInfo -> FrameChunk* -> (backbone) -> FeatureSequence -> (temporal encoder)
-> Prediction and ScoreTimeline -> Segment* -> Report.

Arrays are numpy here; dataclasses that hold arrays compare by identity (``eq=False``) and
show shapes, not numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
SecondsArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]


def _shape_check(name: str, array: NDArray[Any], dtype: Any, *shape: int | None) -> None:
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        raise ValueError(
            f"{name}: expected {np.dtype(dtype)} {shape}, got {array.dtype} {array.shape}"
        )


# ------------------------------------------------------------------------------- video


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the header of a file says of the chosen video stream. Headers lie: durations and
    counts here are named ``*_from_header`` and only ever serve as estimates.

    ``start_seconds`` is the container's start time; it has been subtracted from every time
    vtnstream reports (player time).
    """

    path: str
    size_bytes: int
    format_name: str
    codec_name: str
    profile: str | None
    pixel_format: str | None
    stream_index: int
    num_video_streams: int
    width: int
    """Displayed width: rotation and sample aspect ratio applied."""
    height: int
    coded_width: int
    coded_height: int
    rotation: int
    """Degrees clockwise by which the picture is turned for display: 0, 90, 180 or 270."""
    mirrored: bool
    sample_aspect_ratio: Fraction
    time_base: Fraction
    start_seconds: Fraction
    average_rate: Fraction | None
    duration_from_header: Fraction | None
    num_frames_from_header: int | None
    has_audio: bool
    warnings: tuple[str, ...] = ()
    first_frame_seconds: Fraction = Fraction(0)
    """Player time of the first picture: not 0 where the sound begins earlier."""
    start_timecode: str | None = None
    """Timecode of the first picture as the camera or editor wrote it (``01:00:00:00``)."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How one displayed picture becomes a model frame: scaled to ``width`` x ``height``
    pixels, then cropped to the box at (``left``, ``top``). Where the box is larger than the
    picture, the missing border is black (``left`` / ``top`` are then negative)."""

    width: int
    height: int
    left: int
    top: int
    crop_width: int
    crop_height: int


FrameFit = Callable[[int, int], Fit]
"""Displayed (width, height) of a picture -> its :class:`Fit`."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range of source time in exact seconds; ``end=None`` is the end of file."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None


@dataclass(frozen=True, slots=True)
class DecodeStats:
    """What decoding met, as counts that add up over chunks.

    Frames that the sampling does not look at, and that no sampled frame is predicted from, are
    not decoded: damage inside them is neither met nor counted, and touches no token.
    """

    num_packets: int = 0
    num_packet_errors: int = 0
    """Packets whose decoding raised, and read errors of the demuxer."""
    num_corrupt: int = 0
    """Packets or frames that libav flagged as corrupt."""
    num_frames: int = 0
    """Frames decoded, sampled or not; fewer than the video has where some were not needed."""
    num_dropped: int = 0
    """Frames left out because their time did not increase."""

    def __add__(self, other: DecodeStats) -> DecodeStats:
        return DecodeStats(
            self.num_packets + other.num_packets,
            self.num_packet_errors + other.num_packet_errors,
            self.num_corrupt + other.num_corrupt,
            self.num_frames + other.num_frames,
            self.num_dropped + other.num_dropped,
        )


@dataclass(frozen=True, slots=True, eq=False)
class TokenTimes:
    """Where each of T tokens stands in the source.

    Attributes:
        indices: (T,) int64, strictly increasing position on the sampling grid. A jump is a
            gap: positions keep true time.
        pts: (T,) int64, presentation timestamp of the frame in the stream's time base.
        start_seconds: (T,) float64, player time at which the token starts.
        end_seconds: (T,) float64, its end: the next token's start, or before a gap and at
            the end of the file the end of its own frame.
    """

    indices: IndexArray
    pts: IndexArray
    start_seconds: SecondsArray
    end_seconds: SecondsArray

    def __post_init__(self) -> None:
        count = len(self.indices)
        _shape_check("indices", self.indices, np.int64, None)
        _shape_check("pts", self.pts, np.int64, count)
        _shape_check("start_seconds", self.start_seconds, np.float64, count)
        _shape_check("end_seconds", self.end_seconds, np.float64, count)

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        if not len(self):
            return "TokenTimes(0 tokens)"
        return (
            f"TokenTimes({len(self)} tokens, "
            f"{self.start_seconds[0]:.3f} to {self.end_seconds[-1]:.3f} s)"
        )

    def __getitem__(self, part: slice) -> TokenTimes:
        return TokenTimes(
            self.indices[part], self.pts[part], self.start_seconds[part], self.end_seconds[part]
        )

    @classmethod
    def empty(cls) -> TokenTimes:
        whole, real = np.empty(0, np.int64), np.empty(0, np.float64)
        return cls(whole, whole.copy(), real, real.copy())

    @classmethod
    def concatenate(cls, parts: list[TokenTimes]) -> TokenTimes:
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([p.indices for p in parts]),
            np.concatenate([p.pts for p in parts]),
            np.concatenate([p.start_seconds for p in parts]),
            np.concatenate([p.end_seconds for p in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrameChunk:
    """Frames decoded together: every token of the sampling grid in ``[first_index,
    stop_index)``, which is one batch of the backbone.

    Attributes:
        frames: (T, h, w, 3) uint8 RGB, upright, scaled and cropped to the model's size; where
            a token is made of several, they stand one below the other.
        times: their T :class:`TokenTimes`; T may be 0 where the grid lies in a gap.
        first_index: first grid position this chunk answers for, a multiple of the chunk size.
        stop_index: one past the last.
        stats: what decoding met since the chunk before.
        rows: the tokens that have a frame where not all have (clips begin at some only).
    """

    frames: NDArray[np.uint8]
    times: TokenTimes
    first_index: int
    stop_index: int
    stats: DecodeStats
    rows: IndexArray | None = None

    def __post_init__(self) -> None:
        count = len(self.times) if self.rows is None else len(self.rows)
        _shape_check("frames", self.frames, np.uint8, count, None, None, 3)

    def spread(self, values: FloatArray) -> FloatArray:
        """What was computed of the frames, for all T tokens: zeros where there is no frame."""
        if self.rows is None:
            return values
        spread = np.zeros((len(self.times), values.shape[1]), np.float32)
        spread[self.rows] = values
        return spread

    def __repr__(self) -> str:
        return f"FrameChunk({self.frames.shape}, grid {self.first_index}:{self.stop_index})"


@dataclass(frozen=True, slots=True)
class DecodeSummary:
    """What a whole pass over a file came to.

    ``problems`` is empty where everything that was asked for was read; otherwise each entry
    is one plain sentence that says why the result is partial. Those that are about the end
    of the file, not about the way there, stand in ``end_problems`` too. ``warnings`` do not
    make a result partial.
    """

    stats: DecodeStats
    end_seconds: float
    """Player time at which the last decoded frame ends (0 when nothing was decoded)."""
    reached_end: bool
    """The file was read as far as it can be (not stopped by ``--end``)."""
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    end_problems: tuple[str, ...] = ()


# ---------------------------------------------------------------------------- features


class FeatureSequence(Protocol):
    """T feature vectors of D numbers with their times: in memory or on disk."""

    @property
    def times(self) -> TokenTimes: ...

    @property
    def num_features(self) -> int:
        """D."""
        ...

    def blocks(self, size: int) -> Iterator[FloatArray]:
        """The features in order, in float32 blocks of at most (size, D)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A :class:`FeatureSequence` in memory: ``values`` (T, D) float32 and ``times``."""

    values: FloatArray
    times: TokenTimes

    def __post_init__(self) -> None:
        _shape_check("values", self.values, np.float32, len(self.times), None)

    def __repr__(self) -> str:
        return f"Features({self.values.shape}, {self.times!r})"

    @property
    def num_features(self) -> int:
        return int(self.values.shape[1])

    def blocks(self, size: int) -> Iterator[FloatArray]:
        for start in range(0, len(self.values), size):
            yield self.values[start : start + size]


# ----------------------------------------------------------------------------- results


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class of the whole video and its probability."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A labelled span ``[start, end)`` in seconds of the source; ``score`` is the mean of
    its tokens' probabilities. ``track`` is ``dense`` or ``sliding`` where both are shown."""

    start: float
    end: float
    label: str
    score: float
    track: str | None = None


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
        _shape_check("scores", self.scores, np.float32, len(self.times), len(self.labels))

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
        _shape_check("weights", self.weights, np.float32, None, None, len(self.times))

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
class Thumbnail:
    """A small picture of a video: a JPEG and the player time at which it is shown."""

    seconds: float
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Chapter:
    """A named span ``[start, end)`` of a video in exact seconds, as players list them."""

    start: Fraction
    end: Fraction
    title: str


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
    """Pictures a second where all sampled ones lie on this grid; None where the rate varies or
    too few were sampled to know."""
    thumbnails: tuple[Thumbnail | None, ...] = ()
    """One for each segment, or none at all; only pages show them, nothing stores them."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """Facts of the run: tokens, seconds, rates, versions, device, cached or decoded."""
    warnings: tuple[str, ...] = ()
