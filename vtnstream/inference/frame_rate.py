"""Find out whether the frames of a video have a constant rate."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from vtnstream.timecode import STANDARD_RATES
from vtnstream.types import FrameIndex, VideoInfo

_FEWEST = 3
"""Fewest frames; fewer fit any rate."""

_NEAR = Fraction(1, 200)
"""Largest relative difference between a standard rate and a header's rate that stands for it."""


def constant_frame_rate(frames: FrameIndex | None, info: VideoInfo) -> Fraction | None:
    """Return the constant frame rate that fits all counted frames, or None.

    The header of a video with a variable rate gives the average, and that of a constant rate may
    be rounded. Standard rates near the header's are therefore tried first, and compared with the
    times of the frames. Times may differ by one tick of the file's clock (Matroska rounds to
    milliseconds).
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
