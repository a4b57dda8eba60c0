"""What is known of a video, and of its pictures and spans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction


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
    """Timecode of the first frame as the camera or editor wrote it (``01:00:00:00``)."""
    timecode_rate: Fraction | None = None
    """Frames a second that the timecode counts, where a timecode track says so."""


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


@dataclass(frozen=True, slots=True)
class Colour:
    """How the samples of a decoded picture are meant.

    Attributes:
        matrix: ``matrix_coefficients`` of H.273; unknown ones are BT.601.
        colour_range: 2 is full, all else limited.
        levels: of a sample, for one of 8 bits: 1, or 256 where it fills 16 bits from above
            (P010, P016).
    """

    matrix: int
    colour_range: int
    levels: int = 1


FrameFit = Callable[[int, int], Fit]
"""Displayed (width, height) of a picture -> its :class:`Fit`."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range of source time in exact seconds; ``end=None`` is the end of file."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None


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
