"""Read one frame of each of many spans of a video, in one pass that decodes only what they need."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import av.error
import numpy as np
from numpy.typing import NDArray

from vtnstream.errors import VideoDecodeError
from vtnstream.types import Fit
from vtnstream.video.container import DEFAULT_MAX_PIXELS, opened
from vtnstream.video.decoding.lookahead import SkippingUnsafeError
from vtnstream.video.decoding.reader import DecodedFrame, FrameReader, SkippedFrame
from vtnstream.video.probe import StreamFacts, examine
from vtnstream.video.resize import FrameResizer

Pixels = NDArray[np.uint8]
_ROUNDING = Fraction(1, 1_000_000)
"""Difference in seconds that rounding may cause between stored times and times of frames."""
_LONGEST_WAIT = Fraction(1)
"""Seconds before a time within which a frame may be the one that is displayed at it, where the time
of the next frame is not known in advance."""


@dataclass(slots=True)
class _Wanted:
    """The middles of spans, and how far a pass has come.

    Attributes:
        spans: start, middle and end of each span, in order of the middles.
        place: number of the next span without a frame.
        held: the last frame that may be the one at the next middle.
    """

    spans: list[tuple[Fraction, Fraction, Fraction]]
    place: int = 0
    held: tuple[Fraction, Pixels] | None = None
    chosen: set[int] = field(default_factory=set)

    def passed(self, time: Fraction | None) -> Iterator[Pixels | None]:
        """Yield the frames of the spans whose middle is before ``time``; None is the end."""
        while self.place < len(self.spans):
            start, middle, end = self.spans[self.place]
            if time is not None and time <= middle:
                return
            self.place += 1
            fits = self.held is not None and start - _ROUNDING <= self.held[0] < end
            yield self.held[1] if fits and self.held is not None else None

    def next_within(self, start: Fraction, stop: Fraction | None) -> bool:
        """Return whether the middle of a span that has no frame yet lies in ``[start, stop)``."""
        low, high = self.place, len(self.spans)
        while low < high:
            place = (low + high) // 2
            if self.spans[place][1] < start:
                low = place + 1
            else:
                high = place
        return low < len(self.spans) and (stop is None or self.spans[low][1] < stop)


def span_reader(
    path: str | Path, stream: int | None
) -> Callable[[Sequence[tuple[float, float]], int | None], Iterator[Pixels | None]] | None:
    """Return :func:`span_frames` of a video as a function of spans and longest side; None if the
    video is no local file."""
    if not Path(path).is_file():
        return None

    def read(spans: Sequence[tuple[float, float]], longest: int | None) -> Iterator[Pixels | None]:
        return span_frames(path, spans, stream=stream, longest=longest)

    return read


def span_frames(
    path: str | Path,
    spans: Sequence[tuple[float, float]],
    *,
    stream: int | None = None,
    longest: int | None = None,
) -> Iterator[Pixels | None]:
    """Yield the frame that is displayed in the middle of each span, in one pass.

    Packets that no such frame depends on are not decoded where the codec allows it.

    Args:
        path: a local video.
        spans: ``[start, end)`` in player time, in the order of their middles.
        stream: index of the video stream.
        longest: longest side of the frames in pixels; None keeps their size.

    Yields:
        For each span (h, w, 3) uint8 RGB, upright and in the aspect ratio of the video; None if no
        frame of the span could be decoded.

    Raises:
        VideoError: the video cannot be opened or decoded.
    """
    info, facts, _ = examine(path, stream=stream)
    resize = FrameResizer(str(path), partial(_fit, longest), max_pixels=DEFAULT_MAX_PIXELS)
    exact = [(_exact(start), _exact(end)) for start, end in spans]
    middles = [(start, (start + end) / 2, end) for start, end in exact]
    num_done = 0
    for skip in (True, False):
        wanted = _Wanted(middles[num_done:])
        frames = _pass(path, info.stream_index, facts, wanted, resize, skip)
        try:
            with closing(frames) as found:
                for frame in found:
                    num_done += 1
                    yield frame
            return
        except SkippingUnsafeError:
            continue  # read again without leaving packets out


def _exact(seconds: float) -> Fraction:
    return Fraction(seconds).limit_denominator(1_000_000)


def _pass(
    path: str | Path,
    stream: int,
    facts: StreamFacts,
    wanted: _Wanted,
    resize: FrameResizer,
    skip: bool,
) -> Generator[Pixels | None, None, None]:
    """Read the video once and yield the frame of each span.

    Raises:
        SkippingUnsafeError: all frames must be decoded.
    """

    def choose(pts: int, following: int | None) -> bool:
        after = None if following is None else facts.player_time(following)
        chosen = wanted.next_within(facts.player_time(pts), after)
        if chosen:
            wanted.chosen.add(pts)
        return chosen

    skips = skip and facts.raw_rate is None
    with opened(path, stream=stream) as video:
        reader = FrameReader(video, facts, choice=choose if skips else None)
        for decoded in reader.decoded_frames():
            yield from wanted.passed(decoded.place.time)
            if wanted.place == len(wanted.spans):
                return
            if _may_be_next(decoded, wanted, skips):
                _hold(decoded, wanted, resize)
    yield from wanted.passed(None)


def _may_be_next(decoded: DecodedFrame, wanted: _Wanted, skips: bool) -> bool:
    """Return whether a frame may be the one that is displayed at the next middle."""
    if isinstance(decoded.frame, SkippedFrame):
        return False
    if skips and wanted.chosen:
        return decoded.place.pts in wanted.chosen
    time, middle = decoded.place.time, wanted.spans[wanted.place][1]
    return middle - _LONGEST_WAIT <= time <= middle


def _hold(decoded: DecodedFrame, wanted: _Wanted, resize: FrameResizer) -> None:
    try:
        pixels = resize(decoded.frame, decoded.aspect)
    except (VideoDecodeError, av.error.FFmpegError):
        return
    wanted.held = decoded.place.time, pixels


def _fit(longest: int | None, width: int, height: int) -> Fit:
    scale = 1.0 if longest is None else min(1.0, longest / max(width, height))
    across, down = (max(1, round(side * scale)) for side in (width, height))
    return Fit(across, down, 0, 0, across, down)
