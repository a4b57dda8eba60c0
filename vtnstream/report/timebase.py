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
    parse_smpte,
)
from vtnstream.types import Report, VideoInfo

_HALF = Fraction(1, 2)
_NEAR = Fraction(1, 1000)


@dataclass(frozen=True, slots=True)
class Timebase:
    """What counts the pictures of a video.

    Attributes:
        rate: pictures a second; of a variable rate the standard one nearest its average.
        constant: pictures really come at this rate. Otherwise frame numbers are those of a
            timeline at ``rate``, to which editing programs conform a video.
        drop_frame: timecode skips numbers to keep up with the clock.
        first_timecode: frames from 00:00:00:00 to the timecode of the first picture.
        first_seconds: player time of the first picture.
        clock: ticks of the file.
    """

    rate: Fraction
    constant: bool
    drop_frame: bool
    first_timecode: int
    first_seconds: Fraction
    clock: Clock

    @classmethod
    def of(cls, report: Report) -> Timebase | None:
        """The timebase of a report; None where nothing is known of its frame rate."""
        video = report.video
        average = video.average_rate
        if report.frame_rate is None and not (average and 0 < average <= 1000):
            return None
        rate = report.frame_rate or _nominal(average or Fraction(0))
        start = parse_smpte(video.start_timecode or "", rate)
        offset, drop = start or (0, drops_frames(rate))
        constant = report.frame_rate is not None
        return cls(rate, constant, drop, offset, video.first_frame_seconds, Clock.of(video))

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

    def frame(self, seconds: float) -> int:
        """Number of the picture that begins at a moment, counted from the first picture."""
        exact = self.clock.exact(seconds) - self.first_seconds
        return max(0, int(exact * self.rate + _HALF))

    def at(self, rate: Fraction) -> Timebase:
        """The same moments counted at another rate."""
        return dataclasses.replace(self, rate=rate)

    def timecode(self, frame: int) -> str:
        """SMPTE timecode of a picture, as the source itself counts."""
        return format_smpte(frame + self.first_timecode, self.rate, drop=self.drop_frame)


@dataclass(frozen=True, slots=True)
class Clock:
    """Ticks of ``tick`` seconds; player time 0 lies at ``start`` on it."""

    tick: Fraction
    start: Fraction

    @classmethod
    def of(cls, video: VideoInfo) -> Clock:
        tick = video.time_base if video.time_base > 0 else Fraction(1, 1_000_000)
        return cls(tick, video.start_seconds)

    def exact(self, seconds: float) -> Fraction:
        """Player time as the rational number that a rounded one stands for: the nearest tick."""
        return round((Fraction(seconds) + self.start) / self.tick) * self.tick - self.start

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
    """The lowest rate with a SMPTE timecode on which every picture of ``rate`` has a frame of
    its own; the nearest where there is none."""
    exact = [r for r in SMPTE_RATES if (r / rate).denominator == 1]
    return exact[0] if exact else min(SMPTE_RATES, key=lambda r: abs(r / rate - 1))
