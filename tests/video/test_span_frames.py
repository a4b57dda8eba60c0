"""The frame in the middle of each span, identified by the number drawn on it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from tests.synth import SyntheticVideo, read
from vtnstream.errors import VideoOpenError
from vtnstream.video.decoding.reader import FrameReader
from vtnstream.video.span_frames import span_frames, span_reader

SPANS = [(0.0, 0.1), (0.1, 0.5), (0.5, 4.0), (3.0, 3.1), (9.95, 10.05), (19.0, 20.0)]
NUMBERS = [0, 3, 22, 30, 100, 195]
ORDERED = sorted(zip(SPANS, NUMBERS, strict=True), key=lambda pair: sum(pair[0]))


def numbers(path: Path, spans: list[tuple[float, float]]) -> list[int | None]:
    return [None if f is None else read(f) for f in span_frames(path, spans)]


@pytest.mark.parametrize("gop", [12, 300])
@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".ts"])
def test_the_frame_in_the_middle_is_returned(tmp_path: Path, gop: int, suffix: str) -> None:
    b_frames = 0 if suffix == ".avi" else 3
    video = SyntheticVideo(count=200, rate=10, gop=gop, b_frames=b_frames)
    path = video.write(tmp_path / f"film{suffix}")
    assert numbers(path, [span for span, _ in ORDERED]) == [number for _, number in ORDERED]


def test_few_frames_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = SyntheticVideo(count=400, rate=25, gop=10, b_frames=2).write(tmp_path / "film.mp4")
    readers: list[FrameReader] = []
    start = FrameReader.__post_init__

    def kept(reader: FrameReader) -> None:
        start(reader)
        readers.append(reader)

    monkeypatch.setattr(FrameReader, "__post_init__", kept)
    assert numbers(path, [(4.0, 4.4), (12.0, 12.4)]) == [105, 305]
    (reader,) = readers
    assert reader.counters.lifetime.num_frames < 100


def test_frames_are_upright_and_of_the_wanted_size(tmp_path: Path) -> None:
    path = SyntheticVideo(count=20, rate=10, aspect=Fraction(2)).write(tmp_path / "film.mp4")
    (whole,) = span_frames(path, [(0.0, 1.0)])
    assert whole is not None and whole.shape == (96, 256, 3)
    (small,) = span_frames(path, [(0.0, 1.0)], longest=64)
    assert small is not None and small.shape == (24, 64, 3)


def test_a_span_without_frames_has_none(tmp_path: Path) -> None:
    times = [k / 10 for k in range(10)] + [5 + k / 10 for k in range(10)]
    path = SyntheticVideo(count=20, times=times, last_seconds=0.1).write(tmp_path / "film.mp4")
    assert numbers(path, [(0.2, 0.4), (2.0, 3.0), (5.0, 5.2), (50.0, 60.0)]) == [3, None, 11, None]


def test_damage_is_passed_over(tmp_path: Path) -> None:
    video = SyntheticVideo(count=60, rate=10, gop=10, broken=range(20, 30))
    path = video.write(tmp_path / "film.mp4")
    found = numbers(path, [(0.0, 1.0), (1.0, 2.0), (4.0, 5.0)])
    assert found == [5, 15, 45]


def test_only_a_local_file_has_a_reader(tmp_path: Path) -> None:
    assert span_reader("https://example.org/a.mp4", None) is None
    assert span_reader(tmp_path / "none.mp4", None) is None
    with pytest.raises(VideoOpenError):
        list(span_frames(tmp_path / "none.mp4", [(0.0, 1.0)]))
