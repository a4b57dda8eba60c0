"""Parse and format times: ``90``, ``90s``, ``1:30``, ``00:01:30.5``, ``2700f``, and SMPTE
timecode."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

from vtnstream.errors import UsageError

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s?")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([mh])")
_FRAMES = re.compile(r"(\d+)f")
_SMPTE = re.compile(r"(\d{2}):([0-5]\d):([0-5]\d)([:;.,])(\d{2,3})")
_NTSC = Fraction(1000, 1001)

SMPTE_RATES = tuple(
    sorted([*(Fraction(r) for r in (24, 25, 30, 48, 50, 60)), *(r * _NTSC for r in (24, 30, 60))])
)
"""Frame rates for which SMPTE timecode is defined."""

STANDARD_RATES = tuple(
    sorted({*SMPTE_RATES, *(Fraction(r) for r in (10, 12, 15, 20, 90, 100, 120)), 120 * _NTSC})
)
"""Common frame rates of cameras and displays."""


@dataclass(frozen=True, slots=True)
class FrameCount:
    """A time given as a number of frames (``2700f``), which depends on the video's frame rate."""

    frames: int


def parse_time(text: str) -> Fraction | FrameCount:
    """Parse a point in time of a video.

    Returns:
        Exact seconds, or a :class:`FrameCount` for the form ``2700f``.

    Raises:
        UsageError: the text has none of the accepted forms.
    """
    text = text.strip()
    if match := _SECONDS.fullmatch(text):
        return Fraction(match[1])
    if match := _FRAMES.fullmatch(text):
        return FrameCount(int(match[1]))
    if match := _CLOCK.fullmatch(text):
        hours, minutes, seconds = match[1], int(match[2]), Fraction(match[3])
        if seconds < 60 and (hours is None or minutes < 60):
            return int(hours or 0) * 3600 + minutes * 60 + seconds
    raise UsageError(f"not a time: {text!r} (write 90, 90s, 1:30, 00:01:30.5 or 2700f)")


def parse_duration(text: str) -> Fraction:
    """Parse a duration: the forms of :func:`parse_time` except frames, and ``30m``, ``1.5h``.

    Returns:
        exact seconds.

    Raises:
        UsageError: the text has none of these forms.
    """
    if match := _DURATION.fullmatch(text.strip()):
        return Fraction(match[1]) * (60 if match[2] == "m" else 3600)
    parsed = None
    if not _FRAMES.fullmatch(text.strip()):
        with suppress(UsageError):
            parsed = parse_time(text)
    if not isinstance(parsed, Fraction):
        raise UsageError(f"not a duration: {text!r} (write 90, 90s, 30m, 2h or 1:30)")
    return parsed


def parse_rate(value: str | int | float | Fraction) -> Fraction:
    """Parse a rate in frames per second: ``2``, ``0.5``, ``30000/1001``, ``29.97``.

    Raises:
        UsageError: the value is not a rate above 0 and at most 1000.
    """
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise UsageError(f"not a rate in frames per second: {value!r} (write 2, 0.5 or 30000/1001)")
    return rate


def format_time(seconds: float | Fraction, *, digits: int = 1) -> str:
    """Format as ``h:mm:ss.f``, without hours below one hour. Rounds down, so that a printed end is
    never after the real one."""
    scale = 10**digits
    # Round to nanoseconds before rounding down, so that 2.9999999999 becomes 3.
    units = int(round(Fraction(seconds), 9) * scale)
    sign, units = ("-", -units) if units < 0 else ("", units)
    whole, rest = divmod(units, scale)
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{secs:02d}" + (f".{rest:0{digits}d}" if digits else "")
    return f"{sign}{hours}:{minutes:02d}:{tail}" if hours else f"{sign}{minutes}:{tail}"


def format_span(
    start: float | Fraction, end: float | Fraction, *, digits: int = 1
) -> tuple[str, str, str]:
    """Format start, end and length with :func:`format_time`; the length is the difference of the
    printed times."""
    scale = 10**digits
    first, last = (math.floor(round(Fraction(time), 9) * scale) for time in (start, end))
    length = Fraction(last - first, scale)
    return (
        format_time(start, digits=digits),
        format_time(end, digits=digits),
        format_time(length, digits=digits),
    )


def format_length(seconds: float | Fraction) -> str:
    """Format the length of a video, rounded to the nearest second: ``1:00:00``, and below a minute
    to the nearest tenth where it is no whole second: ``0:40``, ``0:01.8``."""
    tenths = round(Fraction(seconds) * 10)
    if tenths < 600 and tenths % 10:
        return format_time(Fraction(tenths, 10), digits=1)
    return format_time(round(Fraction(seconds)), digits=0)


def has_timecode(rate: Fraction) -> bool:
    """Return whether SMPTE timecode can count a rate.

    It can for a whole number of frames per second, and for 1000/1001 of one; it cannot for 12.5
    frames per second.
    """
    return rate.denominator == 1 or (rate / _NTSC).denominator == 1


def drops_frames(rate: Fraction) -> bool:
    """Return whether drop-frame timecode is defined for a rate: for 29.97 and 59.94, whose
    timecode would otherwise lag behind real time by 3.6 s per hour."""
    return rate in (30 * _NTSC, 60 * _NTSC)


def format_smpte(frame: int, rate: Fraction, *, drop: bool) -> str:
    """Format as ``hh:mm:ss:ff``, or ``hh:mm:ss;ff`` for drop-frame timecode.

    Frame numbers count to the rate rounded up. Drop-frame skips the first 2 frame numbers (4 at
    59.94) of every minute except each tenth (SMPTE ST 12-1).

    Args:
        frame: frames since 00:00:00:00, not negative.
        rate: frames per second.
        drop: use drop-frame; requires :func:`drops_frames`.
    """
    base = math.ceil(rate)
    if drop:
        skipped = base // 15
        per_minute, per_ten = 60 * base - skipped, 600 * base - 9 * skipped
        tens, rest = divmod(frame, per_ten)
        frame += 9 * skipped * tens + skipped * max(0, (rest - skipped) // per_minute)
    seconds, frames = divmod(frame, base)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    width = len(str(base - 1)) if base > 100 else 2
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}{';' if drop else ':'}{frames:0{width}d}"


def parse_smpte(text: str, rate: Fraction) -> tuple[int, bool] | None:
    """Parse a timecode.

    Returns:
        the frame number and whether the timecode is drop-frame, or None if the text is no timecode
        of this rate.
    """
    match = _SMPTE.fullmatch(text.strip())
    base = math.ceil(rate)
    if match is None or int(match[5]) >= base:
        return None
    hours, minutes, seconds = int(match[1]), int(match[2]), int(match[3])
    drop = match[4] in ";,." and drops_frames(rate)
    frame = ((hours * 60 + minutes) * 60 + seconds) * base + int(match[5])
    if drop:
        skipped = base // 15
        if seconds == 0 and minutes % 10 and int(match[5]) < skipped:
            return None
        frame -= skipped * (60 * hours + minutes - (60 * hours + minutes) // 10)
    return frame, drop
