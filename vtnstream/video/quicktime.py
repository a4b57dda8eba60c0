"""Read the rate of a timecode track from the index of a QuickTime file, which libav does not
provide."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

_PATH = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
_MAX_BOXES = 10_000
_MAX_BYTES = 1 << 16
_ENTRY = struct.Struct(">I4s6xH4xIIIB")
"""Sample description of a timecode track: size, format, data reference, flags, time scale, frame
duration, frames per second (QuickTime File Format, Timecode Sample Description)."""


def timecode_rate(file: BinaryIO) -> Fraction | None:
    """Return the frames per second of a timecode track.

    Args:
        file: a QuickTime file; its position is restored.

    Returns:
        None if there is no timecode track, or its description is invalid.
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


def sample_descriptions(file: BinaryIO) -> Iterator[bytes]:
    """The table of sample descriptions of each track, at most 64 KiB of each.

    Args:
        file: an MP4 or QuickTime file; its position changes.
    """
    end = file.seek(0, 2)
    for start, stop in _boxes(file, 0, end, _PATH):
        file.seek(start)
        yield file.read(min(stop - start, _MAX_BYTES))


def _boxes(
    file: BinaryIO, start: int, end: int, path: tuple[bytes, ...]
) -> Iterator[tuple[int, int]]:
    """Yield the content ``[start, stop)`` of every box at the end of a path of nested boxes."""
    for _ in range(_MAX_BOXES):
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
    """Return the rate in a table of sample descriptions if its first entry is a timecode."""
    file.seek(start + 8)  # version, flags and count of the table
    data = file.read(min(_ENTRY.size, max(0, stop - start - 8)))
    if len(data) < _ENTRY.size:
        return None
    _, kind, _, _, scale, duration, _ = _ENTRY.unpack(data)
    if kind != b"tmcd" or not scale or not duration:
        return None
    return Fraction(scale, duration)
