"""Videos are written completely or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vtnstream.errors import OutputError
from vtnstream.video.probe import probe
from vtnstream.video.write import write_video


def frames(count: int, width: int = 32, height: int = 16) -> Iterator[np.ndarray]:
    for number in range(count):
        yield np.full((height, width, 3), number * 20 % 255, np.uint8)


def test_size_rate_and_count_of_frames_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert write_video(path, frames(9), Fraction(30000, 1001)) == 9
    info = probe(path)
    assert (info.width, info.height) == (32, 16)
    assert info.average_rate == Fraction(30000, 1001)
    assert info.num_frames_from_header == 9
    assert info.codec_name == "h264"


@pytest.mark.parametrize(
    ("content", "words"), [([], "no frames"), (list(frames(2, width=31)), "sides must be even")]
)
def test_invalid_frames_leave_no_file(
    tmp_path: Path, content: list[np.ndarray], words: str
) -> None:
    with pytest.raises(OutputError, match=words):
        write_video(tmp_path / "a.mp4", content, 4)
    assert not list(tmp_path.iterdir())


def test_a_failed_source_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")

    def broken() -> Iterator[np.ndarray]:
        yield from frames(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(path, broken(), 4)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.mp4"):
        write_video(tmp_path / "none" / "a.mp4", frames(2), 4)
