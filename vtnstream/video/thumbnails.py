"""Make a small image of each segment by seeking, within limits, and never of another segment."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from vtnstream.errors import VideoDecodeError
from vtnstream.types import Fit, Thumbnail
from vtnstream.video.container import DEFAULT_MAX_PIXELS, opened
from vtnstream.video.decoding.packets import SeekUnverifiedError
from vtnstream.video.decoding.reader import DecodedFrame, FrameReader
from vtnstream.video.probe import StreamFacts, examine
from vtnstream.video.resize import FrameResizer

MAX_THUMBNAILS = 200
MAX_PICTURES = 4000
"""Maximum number of frames decoded for all thumbnails: about half a minute for full HD."""

_MAX_FRAMES_EACH = 400
"""Maximum number of frames decoded for one thumbnail; most groups of pictures are shorter."""

_ROUNDING = Fraction(1, 1_000_000)
"""Difference in seconds that rounding may cause between stored times and times of frames."""

DEFAULT_SIDE = 160
"""Longest side of a thumbnail in pixels."""

_QUALITY = {"qmin": "3", "qmax": "8"}


def thumbnails(
    path: str | Path,
    spans: Sequence[tuple[float, float]],
    *,
    stream: int | None = None,
    side: int = DEFAULT_SIDE,
) -> tuple[Thumbnail | None, ...]:
    """Return one thumbnail of each span, for the longest spans if a limit is reached.

    The keyframe before the middle is used if it lies in the span, because it needs one decoded
    frame; otherwise the first frame of the span.

    Args:
        path: a local video.
        spans: ``[start, end)`` in player time.
        stream: index of the video stream.
        side: longest side of a thumbnail in pixels.

    Returns:
        For each span an upright thumbnail, at most ``side`` pixels wide and high; None if a limit
        was reached, no frame could be decoded, or the file does not support seeking.

    Raises:
        VideoOpenError, NoVideoStreamError: the file cannot be used.
    """
    info, facts, _ = examine(path, stream=stream)
    found: list[Thumbnail | None] = [None] * len(spans)
    if not facts.seekable:
        return tuple(found)
    resize = FrameResizer(str(path), partial(_fit, side), max_pixels=DEFAULT_MAX_PIXELS)
    longest = sorted(range(len(spans)), key=lambda i: spans[i][0] - spans[i][1])
    left = MAX_PICTURES
    for number in sorted(longest[:MAX_THUMBNAILS]):
        if left <= 0:
            break
        start, end = (Fraction(seconds) - _ROUNDING for seconds in spans[number])
        for picture in _frames_of(path, facts, info.stream_index, start, end):
            left -= 1
            if picture.place.time >= start:
                # A frame after the end belongs to another segment.
                found[number] = _thumbnail(picture, resize) if picture.place.time < end else None
                break
            if left <= 0:
                break
    return tuple(found)


def _frames_of(
    path: str | Path, facts: StreamFacts, stream: int, start: Fraction, end: Fraction
) -> Iterator[DecodedFrame]:
    """Yield frames from the keyframe before the middle of a span on; none if seeking fails."""
    with (
        contextlib.suppress(SeekUnverifiedError, VideoDecodeError),
        opened(path, stream=stream) as video,
    ):
        reader = FrameReader(video, facts)
        reader.seek((start + end) / 2)
        for count, picture in enumerate(reader.decoded_frames()):
            if count == _MAX_FRAMES_EACH:
                return
            yield picture


def _thumbnail(picture: DecodedFrame, resize: FrameResizer) -> Thumbnail | None:
    try:
        return Thumbnail(float(picture.place.time), jpeg(resize(picture.frame, picture.aspect)))
    except (VideoDecodeError, av.error.FFmpegError):
        return None


def _fit(longest: int, width: int, height: int) -> Fit:
    scale = longest / max(width, height)
    # The chroma of a JPEG has half the size, so the sides must be even.
    across, down = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
    return Fit(across, down, 0, 0, across, down)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encode a (h, w, 3) uint8 RGB image with even sides as a JPEG."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame = frame.reformat(format="yuvj420p", dst_color_range="JPEG")
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    encoder: Any = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = _QUALITY
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])
