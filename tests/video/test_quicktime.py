"""The rate of a timecode track in hand-made QuickTime files."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import pytest

from vtnstream.video.quicktime import timecode_rate


def box(kind: bytes, *contents: bytes) -> bytes:
    body = b"".join(contents)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def movie(kind: bytes = b"tmcd", scale: int = 30_000, duration: int = 1001) -> bytes:
    entry = struct.pack(">4s6xH4xIIIBx", kind, 1, 0, scale, duration, 30)
    table = box(b"stsd", bytes(4), struct.pack(">I", 1), struct.pack(">I", len(entry) + 4) + entry)
    other = box(
        b"trak", box(b"mdia", box(b"minf", box(b"stbl", box(b"stsd", bytes(8), bytes(60)))))
    )
    track = box(b"trak", box(b"mdia", box(b"mdhd"), box(b"minf", box(b"stbl", table))))
    return box(b"ftyp", b"qt  ") + box(b"mdat", bytes(100)) + box(b"moov", other, track)


@pytest.mark.parametrize(
    ("data", "rate"),
    [
        (movie(), Fraction(30_000, 1001)),
        (movie(scale=25, duration=1), Fraction(25)),
        (movie(kind=b"avc1"), None),
        (movie(duration=0), None),
        (movie()[:-40], None),
        (b"", None),
        (b"\0\0\0\1moov" + (1 << 62).to_bytes(8, "big"), None),
        (b"\0\0\0\4moov" * 3, None),
    ],
)
def test_the_rate_of_a_timecode_track_is_read(data: bytes, rate: Fraction | None) -> None:
    file = io.BytesIO(data)
    file.seek(3)
    assert timecode_rate(file) == rate
    assert file.tell() == 3
