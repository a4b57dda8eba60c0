"""Frame numbers of a video, counted while the video was read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from vtnstream.types.video import VideoInfo


@dataclass(frozen=True, slots=True)
class FrameRun:
    """Consecutive frames at equal distances, to within one tick of the file's clock.

    Attributes:
        first: number of the first frame.
        count: number of frames, at least 1.
        first_tick: presentation time of the first frame in ticks of the stream's time base.
        last_tick: presentation time of the last frame, likewise.
    """

    first: int
    count: int
    first_tick: int
    last_tick: int

    @property
    def stop(self) -> int:
        """One past the number of the last frame."""
        return self.first + self.count

    @property
    def step(self) -> Fraction | None:
        """Ticks from one frame to the next; None for a single frame."""
        if self.count == 1:
            return None
        return Fraction(self.last_tick - self.first_tick, self.count - 1)

    def tick_of(self, number: int) -> int:
        """Return the presentation time of a frame of this run, to within one tick."""
        if self.step is None:
            return self.first_tick
        return self.first_tick + round((number - self.first) * self.step)


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """The frames of a video in presentation order, numbered from 0.

    Attributes:
        runs: runs in order of time; frame numbers between two runs are unknown.
        until: tick up to which frames were counted; None is the end of the video.
    """

    runs: tuple[FrameRun, ...]
    until: int | None = None

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("a frame index needs at least one frame")

    @property
    def count(self) -> int:
        """Number of counted frames: all of the video if ``until`` is None, else those up to it."""
        return self.runs[-1].stop

    def covers(self, tick: int | Fraction) -> bool:
        """Return whether the frames were counted as far as ``tick``."""
        return self.until is None or tick <= self.until

    def number(self, tick: int | Fraction) -> int | None:
        """Return the number of the frame that begins at ``tick``.

        Between two frames, this is the one that begins nearest; in a gap, the frame after it.

        Returns:
            the count of frames for times after the last frame; None if the number is unknown.
        """
        place = bisect_right(self.runs, floor(tick), key=lambda run: run.first_tick) - 1
        if place < 0:
            return self.runs[0].first
        run = self.runs[place]
        half = self._half(place)
        step = run.step or 2 * half
        past = floor((tick - run.first_tick) / step + Fraction(1, 2)) if step else 0
        if past < run.count:
            return run.first + past
        if place + 1 == len(self.runs):
            near = tick - run.last_tick <= max(step, Fraction(1))
            return run.stop if self.covers(tick) or near else None
        return run.stop if self.runs[place + 1].first == run.stop else None

    def _half(self, place: int) -> Fraction:
        """Return half the distance between the frames around a run's last frame."""
        run = self.runs[place]
        if run.step is not None:
            return run.step / 2
        near = [self.runs[i] for i in (place - 1, place + 1) if 0 <= i < len(self.runs)]
        gaps = [
            Fraction(
                other.first_tick - run.last_tick
                if other.first > run.first
                else run.first_tick - other.last_tick
            )
            for other in near
        ]
        gaps += [other.step for other in near if other.step is not None]
        return min(gaps, default=Fraction(0)) / 2

    def tick(self, number: int) -> int | None:
        """Return the presentation time of frame ``number``; None if unknown."""
        place = bisect_right(self.runs, number, key=lambda run: run.first) - 1
        if place < 0 or number >= self.runs[place].stop:
            return None
        return self.runs[place].tick_of(number)

    def seconds(self, number: int, video: VideoInfo) -> Fraction | None:
        """Return the player time at which frame ``number`` begins; None if unknown. For the
        count of frames, it is the time at which the last frame ends.

        Args:
            number: number of the frame, from 0.
            video: the video of these frames.
        """
        tick: int | Fraction | None = self.tick(number)
        if number == self.count and self.until is None:
            last = self.runs[-1]
            tick = last.last_tick + (last.step or 2 * self._half(len(self.runs) - 1))
        return None if tick is None else tick * video.time_base - video.start_seconds

    def around(self, ticks: Iterable[int | Fraction]) -> FrameIndex:
        """Return a small index with only the numbers of the frames at these ticks, and of the
        first and last frame."""
        kept = {self.runs[0].first, self.count - 1}
        for tick in ticks:
            number = self.number(tick)
            if number is not None:
                kept |= {number - 1, number}
        runs = []
        for number in sorted(kept):
            at = self.tick(number)
            if at is not None:
                runs.append(FrameRun(number, 1, at, at))
        return FrameIndex(tuple(runs), self.until)


def seconds_of_frame(
    number: int, video: VideoInfo, frames: FrameIndex | None = None
) -> Fraction | None:
    """Return the player time at which a frame begins, for annotations in frame numbers.

    If frames were not counted, and after the last frame, the frame rate in the header is used.

    Returns:
        None if neither frame numbers nor a frame rate are known.
    """
    rate = video.average_rate
    if frames is not None:
        found = frames.seconds(number, video)
        if found is not None:
            return found
        end = frames.seconds(frames.count, video)
        if end is not None and number > frames.count:
            return end + (number - frames.count) / rate if rate else end
    return number / rate if rate else None
