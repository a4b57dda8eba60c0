"""What QuickTime files say in their index and libav does not hand on: the rate of timecode."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_MOST_BOXES = 10_000
_ENTRY = struct.Struct(">I4s6xH4xIIIB")
"""A sample description of a timecode track: size, format, data reference, flags, time scale,
duration of a frame, frames a second (QuickTime File Format, Timecode Sample Description)."""


def timecode_rate(file: BinaryIO) -> Fraction | None:
    """Frames a second in which a timecode track counts.

    Args:
        file: a QuickTime file; its position is left as it was.

    Returns:
        None where there is no timecode track, or its description makes no sense.
    """
    before = file.tell()
    try:
        end = file.seek(0, 2)
        for start, stop in _boxes(file, 0, end, _PATH):
            if (rate := _rate(file, start, stop)) is not None:
                return rate
    finally:
        file.seek(before)
    return None


def _boxes(
    file: BinaryIO, start: int, end: int, path: tuple[bytes, ...]
) -> Iterator[tuple[int, int]]:
    """Contents ``[start, stop)`` of every box at the end of a path of nested boxes."""
    for _ in range(_MOST_BOXES):
        if end - start < 8:
            return
        file.seek(start)
        header = file.read(16)
        if len(header) < 8:
            return
        size, kind, inside = int.from_bytes(header[:4], "big"), header[4:8], start + 8
        if size == 1 and len(header) == 16:
            size, inside = int.from_bytes(header[8:], "big"), start + 16
        stop = end if size == 0 else start + size
        if stop < inside or stop > end:
            return
        if kind == path[0]:
            if len(path) == 1:
                yield inside, stop
            else:
                yield from _boxes(file, inside, stop, path[1:])
        start = stop


def _rate(file: BinaryIO, start: int, stop: int) -> Fraction | None:
    """The rate in a table of sample descriptions, where its first is one of timecode."""
    file.seek(start + 8)  # version, flags and count of the table
    data = file.read(min(_ENTRY.size, max(0, stop - start - 8)))
    if len(data) < _ENTRY.size:
        return None
    _, kind, _, _, scale, duration, _ = _ENTRY.unpack(data)
    if kind != b"tmcd" or not scale or not duration:
        return None
    return Fraction(scale, duration)
