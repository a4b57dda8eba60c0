"""Dolby Vision: its configuration is found, and its loss in a cut is said."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import pytest

from tests.synth import SyntheticVideo
from vtnstream.types import TimeRange
from vtnstream.video.cut import CuttingSession
from vtnstream.video.dolby_vision import has_dolby_vision

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")
_CONFIGURATION = struct.pack(">I4sBBH20x", 32, b"dvvC", 1, 0, 8 << 9 | 4 << 3 | 0b101)
"""Profile 8, level 4, with a base layer and metadata."""


def with_configuration(path: Path) -> Path:
    """The MP4 file with a configuration box at the end of its first sample entry; its index must
    lie behind the data."""
    data = bytearray(path.read_bytes())
    at, places = 0, []
    for kind in _PARENTS:
        at = data.index(kind, at)
        places.append(at - 4)
    (size,) = struct.unpack_from(">I", data, places[-1])
    data[places[-1] + size : places[-1] + size] = _CONFIGURATION
    for place in places:
        (size,) = struct.unpack_from(">I", data, place)
        struct.pack_into(">I", data, place, size + len(_CONFIGURATION))
    path.write_bytes(data)
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return SyntheticVideo(count=50).write(tmp_path / "film.mp4")


@pytest.mark.parametrize("mode", ["encode", "copy", "smart"])
def test_its_loss_is_said(video: Path, tmp_path: Path, mode: str) -> None:
    part = [TimeRange(Fraction(0), Fraction(1))]
    other = tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes())
    for number, source in enumerate((video, with_configuration(other))):
        target = tmp_path / f"{number}.mp4"
        with CuttingSession.of(source) as session:
            cut = session.write(target, part, mode=mode)
        said = any("Dolby Vision" in note for note in cut.notes)
        assert said == (has_dolby_vision(source) and not has_dolby_vision(target))
        assert has_dolby_vision(source) == (number == 1)
        assert said or number == 0 or mode != "encode"


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"\x1aE\xdf\xa3" + bytes(99) + b"\x41\xe7\x84dvcC", True),
        (b"\x47\x40\x00\x10" + bytes(99) + b"\x05\x04DOVI", True),
        (b"\x1aE\xdf\xa3 dvcC", False),
        (b"", False),
        (b"\0\0\0\x08moov", False),
    ],
)
def test_it_is_found_in_other_containers(head: bytes, found: bool, tmp_path: Path) -> None:
    path = tmp_path / "film"
    path.write_bytes(head)
    assert has_dolby_vision(path) is found
