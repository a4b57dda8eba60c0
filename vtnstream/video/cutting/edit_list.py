"""Change the edit list of an MP4 or QuickTime file, which defines the displayed part of its video.

A frame after the end of a cut may be needed to decode one before it. Its sample remains in the
file, and the edit ends before it (ISO/IEC 14496-12 8.6.6), so that players decode it but do not
display it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import BinaryIO

_MAX_MOVIE_BOX = 256 << 20


def end_edit(path: Path, seconds: Fraction) -> None:
    """End the displayed video of a file written by libav after ``seconds``.

    Args:
        path: an MP4 or QuickTime file with one video track.
        seconds: end of the last displayed frame.

    Raises:
        OSError: the file cannot be written.
        ValueError: the file has no suitable edit list.
    """
    with open(path, "r+b") as file:
        place, moov = _movie_box(file)
        changed = bytearray(moov)
        scale = _timescale(moov)
        for start, stop in _boxes(moov, 8, len(moov), b"trak"):
            if not any(_is_video(moov, *media) for media in _boxes(moov, start, stop, b"mdia")):
                continue
            edits = [
                edit
                for box in _boxes(moov, start, stop, b"edts")
                for edit in _boxes(moov, *box, b"elst")
            ]
            if not edits:
                raise ValueError("its video has no edit list")
            _shorten(changed, edits[0][0], floor(seconds * scale))
        file.seek(place)
        file.write(changed)


def _movie_box(file: BinaryIO) -> tuple[int, bytes]:
    """Return the position and the bytes of ``moov``, including its header."""
    place = 0
    while len(header := file.read(16)) >= 8:
        size, kind = struct.unpack(">I4s", header[:8])
        if size == 1 and len(header) == 16:
            size = struct.unpack(">Q", header[8:])[0]
        if kind == b"moov" and 8 <= size <= _MAX_MOVIE_BOX:
            file.seek(place)
            return place, file.read(size)
        if size < 8:
            break
        place += size
        file.seek(place)
    raise ValueError("it has no index")


def _boxes(data: bytes, start: int, stop: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """Yield the content ranges of boxes of a kind between ``start`` and ``stop``."""
    while start + 8 <= stop:
        size, found = struct.unpack(">I4s", data[start : start + 8])
        if size < 8 or start + size > stop:
            return
        if found == kind:
            yield start + 8, start + size
        start += size


def _timescale(moov: bytes) -> int:
    for start, _ in _boxes(moov, 8, len(moov), b"mvhd"):
        offset = 20 if moov[start] == 1 else 12
        return int.from_bytes(moov[start + offset : start + offset + 4])
    raise ValueError("it has no movie header")


def _is_video(moov: bytes, start: int, stop: int) -> bool:
    return any(moov[a + 8 : a + 12] == b"vide" for a, _ in _boxes(moov, start, stop, b"hdlr"))


def _shorten(moov: bytearray, start: int, duration: int) -> None:
    """Limit the duration of the edit that displays media to ``duration``."""
    version, count = moov[start], int.from_bytes(moov[start + 4 : start + 8])
    place, form = start + 8, (">Qq4s" if version == 1 else ">Ii4s")
    for _ in range(count):
        length, media_time, rate = struct.unpack_from(form, moov, place)
        if media_time >= 0:
            struct.pack_into(form, moov, place, min(length, duration), media_time, rate)
        place += struct.calcsize(form)
