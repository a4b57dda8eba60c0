"""Times as people write them, and back: ``90``, ``90s``, ``1:30``, ``00:01:30.5``, ``2700f``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from vtnstream.errors import UsageError

_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s?")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
_FRAMES = re.compile(r"(\d+)f")


@dataclass(frozen=True, slots=True)
class FrameCount:
    """A time given as a number of frames (``2700f``), resolved against a video's rate."""

    frames: int


def parse_time(text: str) -> Fraction | FrameCount:
    """Read a point in source time.

    Returns:
        Exact seconds, or a :class:`FrameCount` for the form ``2700f``.

    Raises:
        UsageError: the text is none of the accepted forms.
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


def parse_rate(value: str | int | float | Fraction) -> Fraction:
    """Read a rate in frames per second: ``2``, ``0.5``, ``30000/1001``, ``29.97``.

    Raises:
        UsageError: not a positive rate.
    """
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise UsageError(f"not a rate in frames per second: {value!r} (write 2, 0.5 or 30000/1001)")
    return rate


def format_time(seconds: float | Fraction, *, digits: int = 1) -> str:
    """``h:mm:ss.f`` for people; hours are left out below one hour. Rounds down, so that a
    printed end is never past the true one."""
    scale = 10**digits
    # Guard against 2.9999999 standing for 3: floor on a nanosecond-rounded value.
    units = int(round(Fraction(seconds), 9) * scale)
    sign, units = ("-", -units) if units < 0 else ("", units)
    whole, rest = divmod(units, scale)
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f"{secs:02d}" + (f".{rest:0{digits}d}" if digits else "")
    return f"{sign}{hours}:{minutes:02d}:{tail}" if hours else f"{sign}{minutes}:{tail}"
