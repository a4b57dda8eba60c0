"""Whether the pictures of a video come at one rate: what frame numbers rest on."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from vtnstream.timecode import STANDARD_RATES
from vtnstream.types import TokenTimes, VideoInfo

_FEWEST = 3
"""Tokens; fewer lie on any grid."""

_NEAR = Fraction(1, 200)
"""A header's rate may be off by so much and still mean a standard one."""


def constant_frame_rate(times: TokenTimes, info: VideoInfo) -> Fraction | None:
    """The rate on whose grid all sampled pictures lie, None where there is none.

    Headers call a variable rate by its average, and round a constant one; so standard rates
    near the header's are tried first, and what the pictures' own times say decides. Times are
    allowed one tick of the file's clock (Matroska rounds to milliseconds). A picture that is
    left out on the grid shows only where the file counts its pictures, as MP4 does.
    """
    if len(times) < _FEWEST or not info.average_rate:
        return None
    seconds = times.start_seconds - float(info.first_frame_seconds)
    for rate in _candidates(info):
        places = seconds * float(rate)
        slack = min(0.25, float(rate * info.time_base) + 1e-3)
        if np.abs(places - np.rint(places)).max() <= slack:
            return rate
    return None


def _candidates(info: VideoInfo) -> Iterator[Fraction]:
    average = info.average_rate or Fraction(0)
    near = [rate for rate in STANDARD_RATES if abs(rate / average - 1) <= _NEAR]
    near.sort(key=lambda rate: abs(rate - average))
    for rate in (*near, average):
        if _counts_agree(rate, average, info):
            yield rate


def _counts_agree(rate: Fraction, average: Fraction, info: VideoInfo) -> bool:
    """MP4 counts its pictures exactly: one that is missing makes all later numbers wrong,
    though every time lies on the grid. Other headers only estimate."""
    if info.num_frames_from_header is None or info.duration_from_header is None:
        return True
    return abs(rate - average) * info.duration_from_header <= 1
