"""One clock for every format: seconds, frame numbers and timecode of a moment, all from the tick
of the file's own clock that it stands on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fractions import Fraction

from vtnstream.errors import OutputError
from vtnstream.timecode import (
    SMPTE_RATES,
    STANDARD_RATES,
    drops_frames,
    format_smpte,
    has_timecode,
    parse_smpte,
)
from vtnstream.types import FrameIndex, Report, Segment, VideoInfo

_HALF = Fraction(1, 2)
_NEAR = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Timebase:
    """What counts the frames of a video.

    A frame number is the index of a frame in presentation order, from 0, as it was counted when
    the video was read; where frames were not counted, there are no frame numbers. A place on
    the timeline of an editing program (:meth:`place`) is a time at ``rate``: of a constant rate
    it is the frame number, of a variable one it is not.

    Attributes:
        rate: frames a second; of a variable rate the standard one nearest its average.
        constant: the frames come at this rate, without holes.
        drop_frame: timecode skips numbers to keep up with the clock.
        first_timecode: frames from 00:00:00:00 to the timecode of the first frame.
        first_seconds: player time of the first frame.
        clock: ticks of the file.
        frames: the frames as they were counted.
    """

    rate: Fraction
    constant: bool
    drop_frame: bool
    first_timecode: int
    first_seconds: Fraction
    clock: Clock
    frames: FrameIndex | None = None

    @classmethod
    def of(cls, report: Report) -> Timebase | None:
        """The timebase of a report; None where nothing is known of its frame rate."""
        video = report.video
        average = video.average_rate
        if report.frame_rate is None and not (average and 0 < average <= 1000):
            return None
        rate = report.frame_rate or _nominal(average or Fraction(0))
        offset, drop = _first_timecode(video, rate)
        return cls(
            rate=rate,
            constant=report.frame_rate is not None,
            drop_frame=drop,
            first_timecode=offset,
            first_seconds=video.first_frame_seconds,
            clock=Clock.of(video),
            frames=report.frames,
        )

    @classmethod
    def need(cls, report: Report) -> Timebase:
        """As :meth:`of`.

        Raises:
            OutputError: nothing is known of the frame rate.
        """
        base = cls.of(report)
        if base is None:
            raise OutputError(f"{report.input}: the frame rate of the video is not known")
        return base

    def frame(self, seconds: float) -> int | None:
        """Number of the frame that begins at a moment; None where frames were not counted.

        A moment that is no frame's own takes the frame that begins nearest.
        """
        if self.frames is not None:
            return self.frames.number(self.clock.tick_of(seconds))
        return self.place(seconds) if self.constant else None

    def frames_of(self, segment: Segment) -> tuple[int, int] | None:
        """First frame of a segment and the one after its last, at least one frame apart; None
        where frames were not counted.

        A segment in which no frame begins has the one that is on screen.
        """
        first, stop = self.frame(segment.start), self.frame(segment.end)
        if first is None or stop is None:
            return None
        if first >= stop:
            first = max(0, stop - 1)
        return first, max(stop, first + 1)

    def place(self, seconds: float) -> int:
        """Place of a moment on a timeline at :attr:`rate`, in frames from the first frame."""
        exact = self.clock.exact(seconds) - self.first_seconds
        return max(0, int(exact * self.rate + _HALF))

    def at(self, rate: Fraction) -> Timebase:
        """The same moments counted at another rate."""
        return dataclasses.replace(self, rate=rate)

    def timecode(self, seconds: float) -> str | None:
        """SMPTE timecode of a moment, as the source itself counts; None where the rate has no
        timecode."""
        if not has_timecode(self.rate):
            return None
        place = self.place(seconds) + self.first_timecode
        return format_smpte(place, self.rate, drop=self.drop_frame)


def _first_timecode(video: VideoInfo, rate: Fraction) -> tuple[int, bool]:
    """Frames from 00:00:00:00 to the source's timecode, at ``rate``, and whether it drops.

    A timecode track may count at a rate of its own: 25 a second beside 50 frames a second.
    """
    own = video.timecode_rate or rate
    read = parse_smpte(video.start_timecode or "", own)
    if read is None:
        return 0, drops_frames(rate)
    frames, drop = read
    if own == rate:
        return frames, drop
    return round(frames * rate / own), drop and drops_frames(rate)


@dataclass(frozen=True, slots=True)
class Clock:
    """Ticks of ``tick`` seconds; player time 0 lies at ``start`` on it."""

    tick: Fraction
    start: Fraction

    @classmethod
    def of(cls, video: VideoInfo) -> Clock:
        tick = video.time_base if video.time_base > 0 else Fraction(1, 1_000_000)
        return cls(tick, video.start_seconds)

    def tick_of(self, seconds: float) -> int:
        """The nearest tick of a player time."""
        return round((Fraction(seconds) + self.start) / self.tick)

    def exact(self, seconds: float) -> Fraction:
        """Player time as the rational number that a rounded one stands for: the nearest tick."""
        return self.tick_of(seconds) * self.tick - self.start

    def milliseconds(self, seconds: float) -> int:
        """Whole milliseconds, rounded down, so that an end is never past the next start."""
        return int(self.exact(seconds) * 1000)


def _nominal(average: Fraction) -> Fraction:
    """A variable rate by the name that comes nearest: a standard one, or its own where that is
    a whole number."""
    near = min(STANDARD_RATES, key=lambda rate: abs(rate / average - 1))
    if abs(near / average - 1) <= _NEAR or average.denominator != 1:
        return near
    return average


def editing_rate(rate: Fraction) -> Fraction:
    """The lowest rate with a SMPTE timecode on which every frame of ``rate`` has a frame of
    its own; the nearest where there is none."""
    exact = [r for r in SMPTE_RATES if (r / rate).denominator == 1]
    return exact[0] if exact else min(SMPTE_RATES, key=lambda r: abs(r / rate - 1))
