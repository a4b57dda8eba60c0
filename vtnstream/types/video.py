"""Descriptions of a video, its frames, and parts of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Header data of the selected video stream.

    Headers are often wrong. Durations and counts from them are named ``*_from_header`` and are
    used only as estimates. ``start_seconds`` is the start time of the container. It is subtracted
    from every time that vtnstream reports (player time).
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
    """Displayed width, after rotation and sample aspect ratio."""
    height: int
    coded_width: int
    coded_height: int
    rotation: int
    """Clockwise rotation for display in degrees: 0, 90, 180 or 270."""
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
    """Player time of the first frame; not 0 if the audio begins earlier."""
    start_timecode: str | None = None
    """Timecode of the first frame in the container (``01:00:00:00``)."""
    timecode_rate: Fraction | None = None
    """Frames per second of the timecode, if a timecode track states them."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The scaling and cropping that turns a displayed frame into a model input.

    The frame is scaled to ``width`` x ``height`` pixels, then cropped to the box at (``left``,
    ``top``). If the box is larger than the frame, ``left`` or ``top`` is negative and the border is
    black.
    """

    width: int
    height: int
    left: int
    top: int
    crop_width: int
    crop_height: int


@dataclass(frozen=True, slots=True)
class Colour:
    """The colour encoding of a decoded frame.

    Attributes:
        matrix: ``matrix_coefficients`` of H.273; unknown values mean BT.601.
        colour_range: 2 is full range, any other value limited range.
        levels: divisor that turns a sample into 8 bits: 1, or 256 for samples in the upper bits of
            16 (P010, P016).
    """

    matrix: int
    colour_range: int
    levels: int = 1


FrameFit = Callable[[int, int], Fit]
"""Displayed (width, height) of a frame -> its :class:`Fit`."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range ``[start, end)`` of player time in exact seconds; ``end=None`` is the end
    of the file."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small JPEG of a frame, and the player time of the frame."""

    seconds: float
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Chapter:
    """A named interval ``[start, end)`` of a video in exact seconds, as players list chapters."""

    start: Fraction
    end: Fraction
    title: str
