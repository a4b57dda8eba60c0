"""The samplers, which turn displayed frames into tokens.

A token ends where the next one starts, or where its own frame ends before a gap and at the end of
the video. Every sampler therefore reads one token ahead before it returns a token.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import dropwhile
from math import ceil, floor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vtnstream.types import TimeRange
from vtnstream.video.decoding.frame_timeline import DisplayedFrame, FrameTimeline
from vtnstream.video.decoding.reader import DecodedFrame
from vtnstream.video.sampling.grid import SINGLE, Burst

Pixels = NDArray[np.uint8]
Convert = Callable[[DecodedFrame], Pixels]


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """One sampled frame; ``pixels`` is None before the requested range."""

    index: int
    pts: int
    start: Fraction
    end: Fraction
    pixels: Pixels | None


@dataclass(frozen=True, slots=True)
class TokenRange:
    """A range ``[first, stop)`` of token indices; earlier tokens are returned without pixels."""

    first: int = 0
    stop: int | None = None

    def is_past(self, index: int) -> bool:
        return self.stop is not None and index >= self.stop


class TokenPoints(Protocol):
    """Player times of tokens, by index."""

    def has(self, index: int) -> bool:
        """Return whether there is a token with this index."""
        ...

    def time_of_token(self, index: int) -> Fraction:
        """Return the time of the token."""
        ...

    def first_at(self, time: Fraction) -> int:
        """Return the index of the first token at or after ``time``."""
        ...


class Grid(TokenPoints, Protocol):
    """A sampling grid: the frame displayed at each point becomes a token."""

    def start(self, index: int) -> Fraction:
        """Return the start of the token."""
        ...

    def end(self, index: int) -> Fraction:
        """Return the end of the token, unless the video ends before."""
        ...

    def end_before_gap(self, index: int, own_end: Fraction) -> Fraction:
        """Return the end of the token if a gap follows its frame."""
        ...


@dataclass(frozen=True, slots=True)
class RateGrid:
    """The grid t = k / fps from the start of the container. With a burst, each point is replaced by
    ``frames`` points that are ``step`` seconds apart; indices then count these."""

    fps: Fraction
    burst: Burst = SINGLE

    def has(self, index: int) -> bool:
        return index >= 0

    def time_of_token(self, index: int) -> Fraction:
        number, place = divmod(index, self.burst.frames)
        # Called often; this is several times faster than a division of fractions.
        time = Fraction(number * self.fps.denominator, self.fps.numerator)
        return time + place * self.burst.step if place else time

    start = time_of_token

    def end(self, index: int) -> Fraction:
        return self.time_of_token(index + 1)

    def first_at(self, time: Fraction) -> int:
        if self.burst.frames == 1:
            return max(0, ceil(time * self.fps))
        number = floor(time * self.fps)
        place = ceil((time - number / self.fps) / self.burst.step)
        return max(0, number * self.burst.frames + min(place, self.burst.frames))

    def end_before_gap(self, index: int, own_end: Fraction) -> Fraction:
        # The frame was displayed at the grid point, so the token covers the whole cell.
        return self.end(index)


@dataclass(frozen=True, slots=True, eq=False)
class UniformGrid:
    """A grid of N selected frames. A frame selected several times (in videos shorter than N) yields
    several tokens, which divide its duration evenly.

    Attributes:
        times: distinct times of the selected frames, increasing.
        last_end: end of the last of them.
        picks: index of each token's frame in ``times``, not decreasing.
    """

    times: Sequence[Fraction]
    last_end: Fraction
    picks: NDArray[np.int64]

    def has(self, index: int) -> bool:
        return 0 <= index < len(self.picks)

    def time_of_token(self, index: int) -> Fraction:
        return self.times[int(self.picks[index])]

    def start(self, index: int) -> Fraction:
        return self._point(index, 0)

    def end(self, index: int) -> Fraction:
        return self._point(index, 1)

    def _point(self, index: int, after: int) -> Fraction:
        pick = int(self.picks[index])
        first, stop = (int(i) for i in np.searchsorted(self.picks, [pick, pick + 1]))
        begin = self.times[pick]
        end = self.times[pick + 1] if pick + 1 < len(self.times) else self.last_end
        return begin + (end - begin) * Fraction(index - first + after, stop - first)

    def first_at(self, time: Fraction) -> int:
        return int(np.searchsorted(self.picks, bisect_left(self.times, time)))

    def end_before_gap(self, index: int, own_end: Fraction) -> Fraction:
        return min(self.end(index), max(own_end, self.start(index)))


@dataclass(slots=True)
class _Pending:
    """A token whose end is not known yet; ``own_end`` is the end of its frame."""

    token: Token
    own_end: Fraction

    def ending(self, end: Fraction) -> Token:
        # Rounding and late frames must not put the end before the start.
        return replace(self.token, end=max(end, self.token.start))


def sample_grid(
    timeline: FrameTimeline,
    grid: Grid,
    token_range: TokenRange,
    convert: Convert,
    *,
    grace: Fraction = Fraction(0),
) -> Iterator[Token]:
    """Sample the frame displayed at each point of a grid (kinds ``rate`` and ``uniform``).

    The first frame is also used for points up to ``grace`` seconds before it.
    """
    pending: _Pending | None = None
    index, due = -1, Fraction(-1)
    for displayed in timeline:
        if due <= displayed.end and (index < 0 or due < displayed.time):
            due_from = displayed.time - grace if index < 0 else displayed.time
            index = max(index, grid.first_at(due_from))
            due = grid.time_of_token(index) if grid.has(index) else due
        pixels: Pixels | None = None
        while due <= displayed.end and grid.has(index) and _is_on(displayed, due):
            start = grid.start(index)
            if pending is not None:
                yield pending.ending(min(start, grid.end(pending.token.index)))
            if token_range.is_past(index):
                return
            if index >= token_range.first and pixels is None:
                pixels = convert(displayed.decoded)
            token = Token(index, displayed.decoded.place.pts, start, start, pixels)
            pending = _Pending(token, _last_end(grid, index, displayed))
            index += 1
            due = grid.time_of_token(index) if grid.has(index) else due
        if displayed.hold is not None and pending is not None:
            yield pending.ending(grid.end_before_gap(pending.token.index, displayed.own_end))
            pending = None
        if _is_complete(grid, token_range, index, pending):
            break
    if pending is not None:
        yield pending.ending(pending.own_end)


def _is_on(displayed: DisplayedFrame, due: Fraction) -> bool:
    if due <= displayed.time:  # the point is the frame's own time, or within the grace
        return True
    return due < displayed.end and (displayed.hold is None or due <= displayed.hold)


def _last_end(grid: Grid, index: int, displayed: DisplayedFrame) -> Fraction:
    """Return the end of the token if no other frame follows: the end of its frame, divided if
    several tokens have the same frame."""
    if grid.has(index + 1) and grid.time_of_token(index + 1) <= displayed.time:
        return grid.end(index)
    return max(displayed.own_end, grid.start(index))


def _is_complete(grid: Grid, token_range: TokenRange, index: int, pending: _Pending | None) -> bool:
    """Return whether no point is left in the requested range."""
    if index < 0:
        return False
    return not grid.has(index) or (pending is None and token_range.is_past(index))


def sample_frames(
    timeline: FrameTimeline,
    every: int,
    span: TimeRange,
    token_range: TokenRange,
    convert: Convert,
    *,
    first_number: Callable[[Fraction], int] = lambda _time: 0,
) -> Iterator[Token]:
    """Sample every n-th frame of a range (kinds ``stride``, ``all`` and ``keyframes``).

    A gap takes one index, so that the tokens before and after it are not neighbours.

    Args:
        timeline: the displayed frames.
        every: n.
        span: range of player time.
        token_range: range of the tokens to return with pixels.
        convert: converts a decoded frame to pixels.
        first_number: index of the first frame from its time, if reading does not begin with the
            first frame of the range.
    """
    pending: _Pending | None = None
    index = -1
    for count, displayed in enumerate(
        dropwhile(lambda displayed: displayed.time < span.start, timeline)
    ):
        time = displayed.time
        if span.end is not None and time >= span.end:
            if pending is not None:
                yield pending.ending(time)
            return
        if index < 0:
            index = first_number(time)
        if count % every == 0:
            if pending is not None:
                yield pending.ending(time)
            if token_range.is_past(index):
                return
            pixels = convert(displayed.decoded) if index >= token_range.first else None
            token = Token(index, displayed.decoded.place.pts, time, time, pixels)
            pending = _Pending(token, displayed.own_end)
            index += 1
        if displayed.hold is not None:
            if pending is not None:
                yield pending.ending(displayed.own_end)
                pending = None
            index += 1
            if token_range.is_past(index):
                return
    if pending is not None:
        yield pending.ending(pending.own_end)


__all__ = [
    "Convert",
    "Grid",
    "RateGrid",
    "Token",
    "TokenPoints",
    "TokenRange",
    "UniformGrid",
    "sample_frames",
    "sample_grid",
]
