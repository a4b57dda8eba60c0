"""Convert the times of a report to frame numbers and timecode, the same in every format.

All are computed from the nearest tick of the file's own clock.
"""

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
    """Frame numbers and timecode of a video.

    A frame number is the index of a frame in presentation order, from 0, as counted when the
    video was read; if frames were not counted, there are no frame numbers. A position on the
    timeline of an editing program (:meth:`place`) is a time at ``rate``. It equals the frame
    number only if the rate is constant.

    Attributes:
        rate: frames per second; for a variable rate the standard one nearest its average.
        constant: whether frames have this rate without gaps.
        drop_frame: whether timecode is drop-frame.
        first_timecode: frames from 00:00:00:00 to the timecode of the first frame.
        first_seconds: player time of the first frame.
        clock: ticks of the file.
        frames: the counted frames.
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
        """Return the timebase of a report; None if its frame rate is unknown."""
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
        """Return the timebase of a report, as :meth:`of`.

        Raises:
            OutputError: the frame rate is unknown.
        """
        base = cls.of(report)
        if base is None:
            raise OutputError(f"{report.input}: the frame rate of the video is not known")
        return base

    def frame(self, seconds: float) -> int | None:
        """Return the number of the frame that begins at a time; None if frames were not counted.

        Between two frames, this is the one that begins nearest.
        """
        if self.frames is not None:
            return self.frames.number(self.clock.tick_of(seconds))
        return self.place(seconds) if self.constant else None

    def frames_of(self, segment: Segment) -> tuple[int, int] | None:
        """Return the first frame of a segment and the one after its last, at least one frame
        apart.

        A segment in which no frame begins has the frame that is shown meanwhile.

        Returns:
            None if frames were not counted.
        """
        first, stop = self.frame(segment.start), self.frame(segment.end)
        if first is None or stop is None:
            return None
        if first >= stop:
            first = max(0, stop - 1)
        return first, max(stop, first + 1)

    def place(self, seconds: float) -> int:
        """Return the position of a time on a timeline at :attr:`rate`, in frames from the first
        frame."""
        exact = self.clock.exact(seconds) - self.first_seconds
        return max(0, int(exact * self.rate + _HALF))

    def at(self, rate: Fraction) -> Timebase:
        """Return the timebase of the same video at another rate."""
        return dataclasses.replace(self, rate=rate)

    def timecode(self, seconds: float) -> str | None:
        """Return the SMPTE timecode of a time, as the source counts; None if the rate has no
        timecode."""
        if not has_timecode(self.rate):
            return None
        place = self.place(seconds) + self.first_timecode
        return format_smpte(place, self.rate, drop=self.drop_frame)


def _first_timecode(video: VideoInfo, rate: Fraction) -> tuple[int, bool]:
    """Return the frames from 00:00:00:00 to the source's timecode, at ``rate``, and whether it
    is drop-frame.

    A timecode track may have a rate of its own: 25 per second beside 50 frames per second.
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
    """The ticks of a file, each of ``tick`` seconds; ``start`` is the clock's time at player
    time 0."""

    tick: Fraction
    start: Fraction

    @classmethod
    def of(cls, video: VideoInfo) -> Clock:
        tick = video.time_base if video.time_base > 0 else Fraction(1, 1_000_000)
        return cls(tick, video.start_seconds)

    def tick_of(self, seconds: float) -> int:
        """Return the tick nearest to a player time."""
        return round((Fraction(seconds) + self.start) / self.tick)

    def exact(self, seconds: float) -> Fraction:
        """Return a rounded player time as an exact number: that of the nearest tick."""
        return self.tick_of(seconds) * self.tick - self.start

    def milliseconds(self, seconds: float) -> int:
        """Return whole milliseconds, rounded down, so that no segment ends after the next one
        starts."""
        return int(self.exact(seconds) * 1000)


def _nominal(average: Fraction) -> Fraction:
    """Return the nominal rate of a variable one: the nearest standard rate, or the average if
    that is a whole number."""
    near = min(STANDARD_RATES, key=lambda rate: abs(rate / average - 1))
    if abs(near / average - 1) <= _NEAR or average.denominator != 1:
        return near
    return average


def editing_rate(rate: Fraction) -> Fraction:
    """Return the lowest rate with SMPTE timecode that has a frame for every frame of ``rate``.

    If there is none, return the nearest rate with SMPTE timecode.
    """
    exact = [r for r in SMPTE_RATES if (r / rate).denominator == 1]
    return exact[0] if exact else min(SMPTE_RATES, key=lambda r: abs(r / rate - 1))
