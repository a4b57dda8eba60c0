"""Find bars of one colour at the sides of a whole video on a few frames, and remove them by the
scaling."""

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
"""Highest value, of 255, of a pixel in a bar: black plus compression noise."""
_SEEKS = 12
_CONSECUTIVE, _STEP = 64, 8
"""Number of frames read from the beginning if there are too few keyframes, and the step between
those that are used."""
_FEWEST = 3
"""Minimum number of frames with content for a decision."""
_UNEVEN = 0.03
"""Share of a side by which two opposite bars may differ."""
_NARROWEST = 0.02
_LEAST_LEFT = 0.2
"""Minimum share of a side between the bars."""
_SAME_COLOUR = 14
"""Largest difference, of 255, of a pixel of a coloured bar from the colour of the bar, and of the
colours of two opposite bars."""
_BORDER, _BORDER_PIXELS = 0.6, 2
"""Minimum share of the border that differs from a coloured bar in some frame, within so many pixels
of the bar. A plain background ends at an outline instead, and is no bar."""

Gray = NDArray[np.uint8]
Colours = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Bars:
    """Shares of the displayed frame that bars cover.

    Attributes:
        left, right: shares of its width.
        top, bottom: shares of its height.
    """

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0

    def __bool__(self) -> bool:
        return any((self.left, self.top, self.right, self.bottom))

    def shares(self) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom, rounded to six digits."""
        found = (self.left, self.top, self.right, self.bottom)
        return round(found[0], 6), round(found[1], 6), round(found[2], 6), round(found[3], 6)

    def without(self, fit: FrameFit) -> FrameFit:
        """Return the fit that scales the area between the bars as ``fit`` scales a whole frame."""

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
    """Find bars on frames spread over a video, or from its beginning if it is not seekable.

    A black bar is dark in every frame, from edge to edge, and about as wide as the opposite one. A
    bar of another colour has that colour in every frame, as does the opposite one, and the image
    begins at a straight border.

    Args:
        path: a local video.
        examined: its stream properties.

    Returns:
        The bars; none if no frame can be decoded or all frames are dark.
    """
    resize = FrameResizer(str(path), _small, max_pixels=DEFAULT_MAX_PIXELS)
    low: Colours | None = None
    high: Colours | None = None
    seen, may_be_black = 0, True
    for frame in _frames(path, examined):
        try:
            colours = resize(frame.frame, frame.aspect)
        except (VideoDecodeError, av.error.FFmpegError):
            continue
        if colours.max() <= 2 * _DARK:
            continue
        seen += 1
        low = colours if low is None else np.minimum(low, colours)
        high = colours if high is None else np.maximum(high, colours)
        # Further frames can only reduce black bars and the area of one colour.
        may_be_black = may_be_black and bool(bars_of(high.max(axis=2)))
        if not may_be_black and not _has_plain_edges(low, high):
            return Bars()
    if low is None or high is None or seen < _FEWEST:
        return Bars()
    return bars_of(high.max(axis=2)) if may_be_black else coloured_bars_of(low, high)


def bars_of(brightest: Gray) -> Bars:
    """Return the black bars of a video from the highest value of each pixel.

    Args:
        brightest: (h, w) highest value of each pixel in any frame, 0 to 255.
    """
    left, right = _pair(brightest.max(axis=0) > _DARK)
    top, bottom = _pair(brightest.max(axis=1) > _DARK)
    return Bars(left, top, right, bottom)


def coloured_bars_of(low: Colours, high: Colours) -> Bars:
    """Return bars of one colour that is not black, at the sides or above and below.

    Args:
        low, high: (h, w, 3) lowest and highest value of each pixel in any frame, 0 to 255.
    """
    left, right = _coloured_pair(low.swapaxes(0, 1), high.swapaxes(0, 1))
    if left:
        return Bars(left=left, right=right)
    top, bottom = _coloured_pair(low, high)
    return Bars(top=top, bottom=bottom)


def _has_plain_edges(low: Colours, high: Colours) -> bool:
    """Return whether two opposite edges have had one colour so far."""
    sides = ((low, high), (low.swapaxes(0, 1), high.swapaxes(0, 1)))
    return any(not _differs(a, b, a[:1])[[0, -1]].any() for a, b in sides)


def _differs(low: Colours, high: Colours, edge: Colours) -> NDArray[np.bool_]:
    """Return (n, m): whether a pixel ever differed from the mean colour of ``edge``.

    Args:
        low, high: (n, m, 3) range of each pixel.
        edge: lowest values of the pixels of the bar's edge.
    """
    colour = edge.astype(np.float32).mean(axis=(0, 1))
    far = np.maximum(np.abs(low - colour), np.abs(high - colour)).max(axis=2)
    return np.asarray(far > _SAME_COLOUR)


def _coloured_pair(low: Colours, high: Colours) -> tuple[float, float]:
    """Return the shares of two opposite bars of one colour along the first axis; zeros if there are
    none."""
    if low[:1].mean(axis=(0, 1)).max() <= 2 * _DARK:
        return 0.0, 0.0  # black or nearly so
    differs = _differs(low, high, low[:1])
    first, last = _pair(np.asarray(differs.any(axis=1)))
    if not first:
        return 0.0, 0.0
    begin, end = round(first * len(low)), len(low) - round(last * len(low))
    for border in (slice(begin, begin + _BORDER_PIXELS), slice(end - _BORDER_PIXELS, end)):
        if differs[border].any(axis=0).mean() < _BORDER:
            return 0.0, 0.0
    return first, last


def _pair(lit: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the unlit shares at both ends of a side; zeros if they are no pair of bars."""
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
    """Yield keyframes at even distances; if there are too few, also frames from the beginning."""
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
    """Yield frames from the keyframe before a time, or from the first frame; none if that fails."""
    with (
        contextlib.suppress(SeekUnverifiedError, VideoDecodeError),
        opened(path, stream=examined.info.stream_index) as video,
    ):
        reader = FrameReader(video, examined.facts)
        if seconds is not None:
            reader.seek(seconds)
        yield from reader.decoded_frames()
