"""From frames on screen to tokens: one function for each way of sampling.

Every sampler looks one token ahead, so that a token it hands out is final: a token ends where
the next one starts, and before a gap or at the end of the video where its own frame ends.
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
from vtnstream.video.decoding.frame_timeline import FrameTimeline, Shown
from vtnstream.video.decoding.reader import Picture
from vtnstream.video.sampling.grid import SINGLE, Burst

Pixels = NDArray[np.uint8]
Convert = Callable[[Picture], Pixels]


@dataclass(frozen=True, slots=True, eq=False)
class Token:
    """One sampled frame: ``pixels`` is None where it lies before the wanted indices."""

    index: int
    pts: int
    start: Fraction
    end: Fraction
    pixels: Pixels | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Token indices ``[first, stop)`` to hand out with pixels; earlier ones come without."""

    first: int = 0
    stop: int | None = None

    def is_past(self, index: int) -> bool:
        return self.stop is not None and index >= self.stop


class Points(Protocol):
    """Places of tokens on the timeline, by index."""

    def has(self, index: int) -> bool:
        """There is a point with this index."""
        ...

    def due(self, index: int) -> Fraction:
        """When the point looks at the screen."""
        ...

    def first_due(self, time: Fraction) -> int:
        """The first point due at ``time`` or later."""
        ...


class Grid(Points, Protocol):
    """Sampling points that choose frames."""

    def start(self, index: int) -> Fraction:
        """When its token starts."""
        ...

    def end(self, index: int) -> Fraction:
        """When its token ends unless the video does."""
        ...

    def dark_end(self, index: int, own_end: Fraction) -> Fraction:
        """When its token ends if a gap follows its frame."""
        ...


@dataclass(frozen=True, slots=True)
class RateGrid:
    """t = k / fps from the container's start; with a burst, ``frames`` points ``step`` apart
    from each of them, numbered through."""

    fps: Fraction
    burst: Burst = SINGLE

    def has(self, index: int) -> bool:
        return index >= 0

    def due(self, index: int) -> Fraction:
        number, place = divmod(index, self.burst.frames)
        # Asked for often: several times faster than a division of fractions.
        time = Fraction(number * self.fps.denominator, self.fps.numerator)
        return time + place * self.burst.step if place else time

    start = due

    def end(self, index: int) -> Fraction:
        return self.due(index + 1)

    def first_due(self, time: Fraction) -> int:
        if self.burst.frames == 1:
            return max(0, ceil(time * self.fps))
        number = floor(time * self.fps)
        place = ceil((time - number / self.fps) / self.burst.step)
        return max(0, number * self.burst.frames + min(place, self.burst.frames))

    def dark_end(self, index: int, own_end: Fraction) -> Fraction:
        # The frame was on screen at the grid point: the cell is its.
        return self.end(index)


@dataclass(frozen=True, slots=True, eq=False)
class PickedGrid:
    """Times of N picked frames. A frame picked more than once (videos shorter than N) is
    several tokens that split its span evenly.

    Attributes:
        times: times of the picked frames, each once, increasing.
        last_end: where the last of them ends.
        picks: for each token the number of its frame in ``times``, not decreasing.
    """

    times: Sequence[Fraction]
    last_end: Fraction
    picks: NDArray[np.int64]

    def has(self, index: int) -> bool:
        return 0 <= index < len(self.picks)

    def due(self, index: int) -> Fraction:
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

    def first_due(self, time: Fraction) -> int:
        return int(np.searchsorted(self.picks, bisect_left(self.times, time)))

    def dark_end(self, index: int, own_end: Fraction) -> Fraction:
        return min(self.end(index), max(own_end, self.start(index)))


@dataclass(slots=True)
class _Pending:
    """A token whose end is not known yet; ``own_end`` is its frame's."""

    token: Token
    own_end: Fraction

    def ending(self, end: Fraction) -> Token:
        # Rounding and late frames must not turn a token inside out.
        return replace(self.token, end=max(end, self.token.start))


def sample_grid(
    timeline: FrameTimeline,
    grid: Grid,
    wanted: Wanted,
    convert: Convert,
    *,
    grace: Fraction = Fraction(0),
) -> Iterator[Token]:
    """The frame on screen at each point of a grid (kinds ``rate`` and ``uniform``).

    ``grace`` lets points that are due so many seconds before the first frame have it.
    """
    pending: _Pending | None = None
    index, due = -1, Fraction(-1)
    for shown in timeline:
        if due <= shown.end and (index < 0 or due < shown.time):
            due_from = shown.time - grace if index < 0 else shown.time
            index = max(index, grid.first_due(due_from))
            due = grid.due(index) if grid.has(index) else due
        pixels: Pixels | None = None
        while due <= shown.end and grid.has(index) and _is_on(shown, due):
            start = grid.start(index)
            if pending is not None:
                yield pending.ending(min(start, grid.end(pending.token.index)))
            if wanted.is_past(index):
                return
            if index >= wanted.first and pixels is None:
                pixels = convert(shown.picture)
            token = Token(index, shown.picture.place.pts, start, start, pixels)
            pending = _Pending(token, _last_end(grid, index, shown))
            index += 1
            due = grid.due(index) if grid.has(index) else due
        if shown.hold is not None and pending is not None:
            yield pending.ending(grid.dark_end(pending.token.index, shown.own_end))
            pending = None
        if _is_complete(grid, wanted, index, pending):
            break
    if pending is not None:
        yield pending.ending(pending.own_end)


def _is_on(shown: Shown, due: Fraction) -> bool:
    if due <= shown.time:  # a frame picked by its own time, or by grace
        return True
    return due < shown.end and (shown.hold is None or due <= shown.hold)


def _last_end(grid: Grid, index: int, shown: Shown) -> Fraction:
    """Where the token ends if no other follows: with its frame, of which tokens of the same
    frame after it take their part."""
    if grid.has(index + 1) and grid.due(index + 1) <= shown.time:
        return grid.end(index)
    return max(shown.own_end, grid.start(index))


def _is_complete(grid: Grid, wanted: Wanted, index: int, pending: _Pending | None) -> bool:
    """No point is left whose token could still matter."""
    if index < 0:
        return False
    return not grid.has(index) or (pending is None and wanted.is_past(index))


def sample_frames(
    timeline: FrameTimeline,
    every: int,
    span: TimeRange,
    wanted: Wanted,
    convert: Convert,
    *,
    first_number: Callable[[Fraction], int] = lambda _time: 0,
) -> Iterator[Token]:
    """Every n-th frame of a range (kinds ``stride``, ``all`` and ``keyframes``).

    A gap uses up one index, so that no two tokens across it are neighbours.

    Args:
        first_number: index of the first frame met, from its time, where reading does not
            begin with the first of the range.
    """
    pending: _Pending | None = None
    index = -1
    for count, shown in enumerate(dropwhile(lambda shown: shown.time < span.start, timeline)):
        time = shown.time
        if span.end is not None and time >= span.end:
            if pending is not None:
                yield pending.ending(time)
            return
        if index < 0:
            index = first_number(time)
        if count % every == 0:
            if pending is not None:
                yield pending.ending(time)
            if wanted.is_past(index):
                return
            pixels = convert(shown.picture) if index >= wanted.first else None
            token = Token(index, shown.picture.place.pts, time, time, pixels)
            pending = _Pending(token, shown.own_end)
            index += 1
        if shown.hold is not None:
            if pending is not None:
                yield pending.ending(shown.own_end)
                pending = None
            index += 1
            if wanted.is_past(index):
                return
    if pending is not None:
        yield pending.ending(pending.own_end)


__all__ = [
    "Convert",
    "Grid",
    "PickedGrid",
    "Points",
    "RateGrid",
    "Token",
    "Wanted",
    "sample_frames",
    "sample_grid",
]
