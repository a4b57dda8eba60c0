"""Read single small frames of a video at given times, by seeking."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import SamplingConfig
from vtnstream.errors import VideoDecodeError
from vtnstream.types import Fit
from vtnstream.video.source import open_video

_STEP = 2
"""Approximate distance in seconds of the previous grid point, to which the source seeks."""


def stills(
    path: str | Path, times: Sequence[float], *, height: int, stream: int | None = None
) -> list[NDArray[np.uint8] | None]:
    """Return the frames displayed at given times, upright and in the aspect ratio of the video.

    Args:
        path: the video.
        times: player times in seconds.
        height: height of the returned frames in pixels.
        stream: index of the video stream.

    Returns:
        For each time (height, width, 3) uint8 RGB, or None if no frame is displayed.

    Raises:
        VideoOpenError: the file cannot be opened.
    """

    def fit(width: int, tall: int) -> Fit:
        scaled = max(round(width * height / tall), 1)
        return Fit(scaled, height, 0, 0, scaled, height)

    frames: list[NDArray[np.uint8] | None] = []
    for time in times:
        exact = Fraction(time).limit_denominator(1_000_000)
        # A grid with a point at this time and the previous point shortly before it.
        index = ceil(exact / _STEP)
        rate = index / exact if index else Fraction(1)
        source = open_video(
            path,
            SamplingConfig(kind="rate", fps=rate),
            fit=fit,
            chunk_size=1,
            first_index=index,
            stop_index=index + 1,
            stream=stream,
        )
        with source:
            try:
                chunk = next(iter(source.chunks()), None)
            except VideoDecodeError:
                chunk = None
        frames.append(None if chunk is None else chunk.frames[0])
    return frames
