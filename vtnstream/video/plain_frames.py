"""Read the first frames of a video as they are coded: neither rotated nor scaled.

PySlowFast reads videos in this way (``slowfast/datasets/decoder.py``, ``pyav_decode``). The frames
are for a comparison with that code; everything else reads through :mod:`vtnstream.video.source`,
which also knows clocks, rotation, gaps and damage.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtnstream.errors import VideoDecodeError
from vtnstream.video.container import DECODE_ERRORS, container_start, opened
from vtnstream.video.probe import interruptible


@dataclass(frozen=True, slots=True, eq=False)
class PlainFrame:
    """One frame.

    Attributes:
        number: its number in presentation order, from 0.
        pts: its timestamp in the time base of the stream.
        start, end: player time of its display in seconds.
        pixels: (H, W, 3) uint8 RGB in the coded size and orientation.
    """

    number: int
    pts: int
    start: Fraction
    end: Fraction
    pixels: NDArray[np.uint8]


def count_plain_frames(path: str | Path, limit: int, *, stream: int | None = None) -> int:
    """Return the number of frames that are decoded, at most ``limit``.

    Raises:
        VideoError: the video cannot be opened or decoded.
    """
    count = 0
    with closing(_decoded(path, stream)) as frames:
        for _ in frames:
            count += 1
            if count >= limit:
                break
    return count


def plain_frames(
    path: str | Path, numbers: Collection[int], *, stream: int | None = None
) -> Iterator[PlainFrame]:
    """Yield the frames with these numbers, in presentation order.

    Raises:
        VideoError: the video cannot be opened or decoded.
    """
    wanted, last = frozenset(numbers), max(numbers)
    with closing(_decoded(path, stream)) as frames:
        for number, (frame, start, end) in enumerate(frames):
            if number in wanted:
                pixels = frame.to_rgb().to_ndarray()
                yield PlainFrame(number, int(frame.pts or 0), start, end, pixels)
            if number >= last:
                return


def _decoded(
    path: str | Path, stream: int | None
) -> Generator[tuple[Any, Fraction, Fraction], None, None]:
    """Yield each frame with the player times at which it starts and ends."""
    with interruptible(), opened(path, stream=stream) as video:
        first, usual = container_start(video), 1 / Fraction(video.stream.average_rate or 25)
        number = 0
        try:
            for packet in video.container.demux(video.stream):
                for frame in packet.decode():
                    base = frame.time_base or video.stream.time_base
                    start = number * usual if frame.pts is None else frame.pts * base - first
                    held = frame.duration * base if frame.duration else usual
                    yield frame, start, start + held
                    number += 1
        except DECODE_ERRORS as error:
            raise VideoDecodeError(
                f"{path}: damaged after {number} frames, and PySlowFast reads no damaged video: "
                "leave --reference-preprocess out"
            ) from error
