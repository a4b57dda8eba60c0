"""Black bars at the sides of a whole video: found on a few frames, and left out when frames are
scaled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av.error
import numpy as np
from numpy.typing import NDArray

from vtnstream.errors import VideoDecodeError
from vtnstream.types import Fit, FrameFit
from vtnstream.video.container import DEFAULT_MAX_PIXELS, opened
from vtnstream.video.decoding.packets import SeekUnverifiedError
from vtnstream.video.decoding.reader import DecodedFrame, FrameReader
from vtnstream.video.probe import Examined
from vtnstream.video.resize import FrameResizer

_WIDTH, _HEIGHT = 192, 108
_DARK = 24
"""Highest value, of 255, of a pixel in a bar: black and what compression adds."""
_SEEKS = 12
_CONSECUTIVE, _STEP = 64, 8
"""Where a file has too few keyframes: frames read from its beginning, and which of them count."""
_FEWEST = 3
"""Frames with content; fewer say nothing of bars."""
_UNEVEN = 0.03
"""Share of a side by which two opposite bars may differ."""
_NARROWEST = 0.02
_LEAST_LEFT = 0.2
"""Share of a side that must be left between the bars."""

Gray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Bars:
    """Shares of the displayed frame that black bars cover.

    Attributes:
        left, top, right, bottom: of its width and height.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0

    def __bool__(self) -> bool:
        return any((self.left, self.top, self.right, self.bottom))

    def shares(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, to six digits."""
        found = (self.left, self.top, self.right, self.bottom)
        return round(found[0], 6), round(found[1], 6), round(found[2], 6), round(found[3], 6)

    def without(self, fit: FrameFit) -> FrameFit:
        """The fit that scales what is between the bars to where ``fit`` scales a whole frame."""

        def inner(width: int, height: int) -> Fit:
            across = max(round(width * (1 - self.left - self.right)), 1)
            down = max(round(height * (1 - self.top - self.bottom)), 1)
            target = fit(across, down)
            wide, high = target.width / across, target.height / down
            return Fit(
                max(round(width * wide), target.crop_width),
                max(round(height * high), target.crop_height),
                target.left + round(self.left * width * wide),
                target.top + round(self.top * height * high),
                target.crop_width,
                target.crop_height,
            )

        return inner if self else fit


def find_bars(path: str | Path, examined: Examined) -> Bars:
    """Find black bars on frames all over a video, or at its beginning if it cannot be sought in.

    A bar is dark in every frame, from edge to edge, and about as wide as the one opposite.

    Args:
        path: a local video.
        examined: its header.

    Returns:
        no bars where there are none, where nothing can be decoded, or where all is dark.
    """
    resize = FrameResizer(str(path), _small, max_pixels=DEFAULT_MAX_PIXELS)
    brightest = np.zeros((_HEIGHT, _WIDTH), np.uint8)
    seen = 0
    for frame in _frames(path, examined):
        try:
            gray = resize(frame.frame, frame.aspect).max(axis=2)
        except (VideoDecodeError, av.error.FFmpegError):
            continue
        if gray.max() <= 2 * _DARK:
            continue
        seen += 1
        np.maximum(brightest, gray, out=brightest)
        if not bars_of(brightest):  # further frames only take from them
            return Bars()
    return bars_of(brightest) if seen >= _FEWEST else Bars()


def bars_of(brightest: Gray) -> Bars:
    """Bars of a video whose brightest values at each place are known.

    Args:
        brightest: (h, w) highest value of each place in any frame, 0 to 255.
    """
    left, right = _pair(brightest.max(axis=0) > _DARK)
    top, bottom = _pair(brightest.max(axis=1) > _DARK)
    return Bars(left, top, right, bottom)


def _pair(lit: NDArray[np.bool_]) -> tuple[float, float]:
    """Shares of a side before and after what is lit; zeros where they are no pair of bars."""
    places = np.flatnonzero(lit)
    if not len(places):
        return 0.0, 0.0
    first, last = int(places[0]) / len(lit), (len(lit) - 1 - int(places[-1])) / len(lit)
    narrow = min(first, last) < _NARROWEST
    if narrow or abs(first - last) > _UNEVEN or 1 - first - last < _LEAST_LEFT:
        return 0.0, 0.0
    return first, last


def _small(width: int, height: int) -> Fit:
    return Fit(_WIDTH, _HEIGHT, 0, 0, _WIDTH, _HEIGHT)


def _frames(path: str | Path, examined: Examined) -> Iterator[DecodedFrame]:
    """Keyframes at even distances; where these are too few, frames of the beginning as well."""
    found: set[Fraction] = set()
    seconds = examined.info.duration_from_header
    if examined.facts.seekable and seconds:
        for number in range(_SEEKS):
            for frame in _decoded(path, examined, seconds * (2 * number + 1) / (2 * _SEEKS)):
                if frame.place.time not in found:
                    found.add(frame.place.time)
                    yield frame
                break
    if len(found) > _FEWEST:
        return
    for count, frame in enumerate(_decoded(path, examined, None)):
        if count >= _CONSECUTIVE:
            return
        if count % _STEP == 0:
            yield frame


def _decoded(
    path: str | Path, examined: Examined, seconds: Fraction | None
) -> Iterator[DecodedFrame]:
    """Frames from the keyframe before a time on, or from the first; none where that fails."""
    with (
        contextlib.suppress(SeekUnverifiedError, VideoDecodeError),
        opened(path, stream=examined.info.stream_index) as video,
    ):
        reader = FrameReader(video, examined.facts)
        if seconds is not None:
            reader.seek(seconds)
        yield from reader.decoded_frames()
