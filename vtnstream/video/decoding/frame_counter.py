"""Count frames while they are decoded, in constant memory for a constant frame rate."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from vtnstream.types import FrameIndex, FrameRun

_MAX_RUNS = 1_000_000
"""Largest number of runs (24 bytes each); a video with more changes of rate is not counted."""

_SLACK_SHARE = 1 / 8
"""Share of the frame distance by which rounding may shift a frame."""


class FrameCounter:
    """Counts frames in presentation order and keeps them as runs of equal distances.

    Memory: 24 bytes per change of distance (a missing frame makes two).
    """

    def __init__(self) -> None:
        self._firsts, self._ticks, self._lasts = array("q"), array("q"), array("q")
        self._count = 0
        self._low, self._high = 0.0, 0.0
        self._last: int | None = None
        self._full = False

    @classmethod
    def of(cls, ticks: Iterable[int]) -> FrameCounter:
        """Count all frames of a video at once."""
        counter = cls()
        for tick in ticks:
            counter.add(tick)
        return counter

    def add(self, tick: int) -> None:
        """Count the next frame; its ``tick`` must be later than that of the previous frame."""
        number, self._count = self._count, self._count + 1
        last, self._last = self._last, tick
        if self._full:
            return
        if last is None:
            self._begin(number, tick)
            return
        steps = number - self._firsts[-1]
        since = tick - self._ticks[-1]
        if steps == 1:
            slack = min(1.0, since * _SLACK_SHARE)
            self._low, self._high = since - slack, since + slack
        else:
            slack = min(1.0, (last - self._ticks[-1]) / (steps - 1) * _SLACK_SHARE)
            low, high = (since - slack) / steps, (since + slack) / steps
            if low > self._high or high < self._low:
                self._begin(number, tick)
                return
            self._low, self._high = max(low, self._low), min(high, self._high)
        self._lasts[-1] = tick

    def _begin(self, number: int, tick: int) -> None:
        if len(self._firsts) >= _MAX_RUNS:
            self._full = True
            return
        self._firsts.append(number)
        self._ticks.append(tick)
        self._lasts.append(tick)

    def index(self, *, whole: bool, until: int | None = None) -> FrameIndex | None:
        """Return the frames counted so far; None if there was no frame, or too many changes.

        Args:
            whole: whether the end of the video was reached.
            until: if not ``whole``, tick before which no further frame is displayed; None means
                that of the last frame.
        """
        if self._full or not self._count or self._last is None:
            return None
        limit = None if whole else max(self._last, until or self._last)
        stops = [*self._firsts[1:], self._count]
        rows = zip(self._firsts, stops, self._ticks, self._lasts, strict=True)
        runs = tuple(FrameRun(first, stop - first, a, b) for first, stop, a, b in rows)
        return FrameIndex(runs, limit)
