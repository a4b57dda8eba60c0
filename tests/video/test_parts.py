"""A live stream that goes on in another file is read as one video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.synth import SyntheticVideo, paint
from tests.video.reading import Reading, read, sampling
from vtnstream.transport.feed import Feed

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


def pieces(*parts: bytes) -> Iterator[bytes | None]:
    for number, data in enumerate(parts):
        if number:
            yield None
        for start in range(0, len(data), 1000):
            yield data[start : start + 1000]


def followed(*parts: bytes, **options: Any) -> Reading:
    feed = Feed("stream", pieces(*parts), lambda: None)
    return read(feed, sampling("all"), skip=False, **options)  # type: ignore[arg-type]


def piece(path: Path, count: int, first: int = 0, **options: Any) -> bytes:
    def draw(number: int, width: int, height: int) -> Any:
        return paint(first + number, width, height)

    return (
        SyntheticVideo(count=count, draw=draw, muxer=FRAGMENTED, **options).write(path).read_bytes()
    )


def test_frames_and_times_continue_over_codecs_sizes_clocks_and_rates(tmp_path: Path) -> None:
    found = followed(
        piece(tmp_path / "a.mp4", 50, b_frames=2),
        piece(tmp_path / "b.mp4", 20, 50, size=(64, 48), ticks=90_000, start=1000.0),
        piece(tmp_path / "c.mp4", 10, 70, codec="mpeg4", options={}, rate=10, ticks=1000),
        piece(tmp_path / "d.mp4", 25, 80, b_frames=2),
    )
    assert found.numbers == [*range(105)]
    expected = [k / 25 for k in range(70)] + [2.8 + k / 10 for k in range(10)]
    expected += [3.8 + k / 25 for k in range(25)]
    assert found.starts == pytest.approx(expected, abs=1e-3)
    assert found.ends[:-1] == found.starts[1:]
    assert found.summary.problems == () and found.summary.warnings == ()
    assert found.summary.end_seconds == pytest.approx(4.8, abs=1e-3)
    assert found.summary.reached_end


def test_a_part_that_cannot_be_read_is_counted_as_lost(tmp_path: Path) -> None:
    found = followed(
        piece(tmp_path / "a.mp4", 20),
        b"neither video nor audio" * 1000,
        piece(tmp_path / "c.mp4", 20, 20),
    )
    assert found.numbers == [*range(40)]
    assert found.starts == pytest.approx([k / 25 for k in range(40)], abs=1e-3)
    assert found.summary.problems == ("1 packet could not be decoded",)
    assert len(found.summary.warnings) == 1 and "is left out: stream:" in found.summary.warnings[0]
