"""Decide from the times of frames which of them a sampling needs.

A choice may include frames that are not needed, which are then decoded unnecessarily. It must
not exclude a needed frame: the pass would have to start again without skipping.
"""

from __future__ import annotations

from fractions import Fraction

from vtnstream.types import TimeRange
from vtnstream.video.probe import StreamFacts
from vtnstream.video.sampling.samplers import Grid, TokenRange


class GridChoice:
    """The choice for :func:`~vtnstream.video.sampling.samplers.sample_grid`: frames displayed at a
    grid point in the range. It works in whole ticks: timestamps in ``(low, high]`` belong to the
    grid point at ``high``."""

    def __init__(self, grid: Grid, token_range: TokenRange, facts: StreamFacts) -> None:
        self._grid = grid
        self._token_range = token_range
        self._facts = facts
        self._low, self._high = 0, 0

    def __call__(self, pts: int, following: int | None) -> bool:
        if not self._low < pts <= self._high:
            self._find(pts)
        if self._high < pts:
            return False
        return following is None or self._high < following

    def _find(self, pts: int) -> None:
        grid, facts = self._grid, self._facts
        index = max(grid.first_at(facts.player_time(pts)), self._token_range.first)
        if not grid.has(index) or self._token_range.is_past(index):
            self._low = self._high = pts - 1  # after the last grid point
            return
        first = index == 0 or index == self._token_range.first
        self._low = pts - 1 if first else self._tick(grid.time_of_token(index - 1))
        self._high = self._tick(grid.time_of_token(index))

    def _tick(self, time: Fraction) -> int:
        return self._facts.ticks_in(time + self._facts.start)


class StrideChoice:
    """The choice for :func:`~vtnstream.video.sampling.samplers.sample_frames`: every n-th frame."""

    def __init__(self, every: int, span: TimeRange, facts: StreamFacts) -> None:
        self._every = every
        self._span = span
        self._facts = facts
        self._count = 0

    def __call__(self, pts: int, following: int | None) -> bool:
        time = self._facts.player_time(pts)
        if time < self._span.start or (self._span.end is not None and time >= self._span.end):
            return False
        self._count += 1
        return (self._count - 1) % self._every == 0


def every_frame(_pts: int, _following: int | None) -> bool:
    """Choose every frame, so that the decoder's frames are checked like those of other choices."""
    return True
