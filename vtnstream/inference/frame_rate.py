"""Whether the frames of a video come at one rate."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from vtnstream.timecode import STANDARD_RATES
from vtnstream.types import FrameIndex, VideoInfo

_FEWEST = 3
"""Frames; fewer lie on any grid."""

_NEAR = Fraction(1, 200)
"""A header's rate may be off by so much and still mean a standard one."""


def constant_frame_rate(frames: FrameIndex | None, info: VideoInfo) -> Fraction | None:
    """The rate on whose grid all counted frames lie, None where there is none.

    Headers call a variable rate by its average, and round a constant one; so standard rates
    near the header's are tried first, and the frames' own times decide. Times are allowed one
    tick of the file's clock (Matroska rounds to milliseconds).
    """
    if frames is None or len(frames.runs) != 1 or frames.count < _FEWEST:
        return None
    run = frames.runs[0]
    seconds = (run.last_tick - run.first_tick) * info.time_base
    for rate in _candidates(info, (run.count - 1) / seconds):
        slack = min(Fraction(1, 4), rate * info.time_base + Fraction(1, 1000))
        if abs(seconds * rate - (run.count - 1)) <= slack:
            return rate
    return None


def _candidates(info: VideoInfo, measured: Fraction) -> Iterator[Fraction]:
    average = info.average_rate or measured
    near = [rate for rate in STANDARD_RATES if abs(rate / average - 1) <= _NEAR]
    near.sort(key=lambda rate: abs(rate - average))
    yield from near
    yield average
    yield measured.limit_denominator(1001)
