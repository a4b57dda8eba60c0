"""Numbers of the frames of a video, as they were counted when the video was read."""

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
        count: how many frames, at least 1.
        first_tick: presentation time of the first frame, in ticks of the stream's time base.
        last_tick: the same of the last frame.
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
        """When a frame of this run is shown, to within one tick."""
        if self.step is None:
            return self.first_tick
        return self.first_tick + round((number - self.first) * self.step)


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """The frames of a video in presentation order, numbered from 0.

    Attributes:
        runs: in order of time; numbers between two runs that do not follow each other are not
            known.
        until: tick up to which frames were counted; None is the end of the video.
    """

    runs: tuple[FrameRun, ...]
    until: int | None = None

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("a frame index needs at least one frame")

    @property
    def count(self) -> int:
        """Frames counted: all of the video where ``until`` is None, else those up to there."""
        return self.runs[-1].stop

    def covers(self, tick: int | Fraction) -> bool:
        """Whether counting went as far as ``tick``."""
        return self.until is None or tick <= self.until

    def number(self, tick: int | Fraction) -> int | None:
        """Number of the frame that begins at ``tick``.

        A time that is no frame's own gives the frame that begins nearest, by half the distance
        between frames; long after the last frame before it, the frame that follows.

        Returns:
            The count of frames for times after the last frame; None where it is not known.
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
        """Half the distance between the frames around a run's last frame."""
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
        """When frame ``number`` is shown; None where that is not known."""
        place = bisect_right(self.runs, number, key=lambda run: run.first) - 1
        if place < 0 or number >= self.runs[place].stop:
            return None
        return self.runs[place].tick_of(number)

    def seconds(self, number: int, video: VideoInfo) -> Fraction | None:
        """Player time at which frame ``number`` begins; of the count of frames, the time at which
        the last one ends. None where that is not known.

        Args:
            number: from 0.
            video: whose frames these are.
        """
        tick: int | Fraction | None = self.tick(number)
        if number == self.count and self.until is None:
            last = self.runs[-1]
            tick = last.last_tick + (last.step or 2 * self._half(len(self.runs) - 1))
        return None if tick is None else tick * video.time_base - video.start_seconds

    def around(self, ticks: Iterable[int | Fraction]) -> FrameIndex:
        """A small index that still gives the numbers of these ticks, and of the first and the
        last frame."""
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
    """Player time at which a frame that annotations name begins.

    Where frames were not counted, and behind the last one, the rate in the header decides.

    Returns:
        None where nothing is known of the video's frames.
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
