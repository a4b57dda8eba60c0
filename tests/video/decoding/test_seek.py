"""Reading from the middle gives bit-identical results to reading from the start."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.synth import SyntheticVideo, paint
from tests.video.reading import Reading, read, sampling
from vtnstream.types import FrameChunk, TimeRange
from vtnstream.video.decoding.reader import FrameReader, SeekUnverifiedError

OPEN = "open-gop=1:bframes=3:b-pyramid=normal:keyint=25:scenecut=0"
VIDEOS = {
    "closed": (SyntheticVideo(count=300, gop=25, b_frames=3), "mp4"),
    "open": (
        SyntheticVideo(
            count=300, gop=25, b_frames=3, options={"preset": "veryfast", "x264-params": OPEN}
        ),
        "mp4",
    ),
    "open mkv": (
        SyntheticVideo(
            count=300, gop=25, b_frames=3, options={"preset": "veryfast", "x264-params": OPEN}
        ),
        "mkv",
    ),
    "intra refresh": (
        SyntheticVideo(
            count=300,
            gop=25,
            options={"preset": "veryfast", "x264-params": "intra-refresh=1:keyint=25"},
        ),
        "mp4",
    ),
    "mpeg4": (
        SyntheticVideo(count=300, gop=25, codec="mpeg4", options={}, ticks=25, b_frames=2),
        "mp4",
    ),
    "mpeg2": (
        SyntheticVideo(count=300, gop=25, codec="mpeg2video", options={}, ticks=25, b_frames=2),
        "mkv",
    ),
    "vp9": (
        SyntheticVideo(
            count=300, gop=25, codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}
        ),
        "webm",
    ),
    "fragmented": (
        SyntheticVideo(
            count=300,
            gop=25,
            b_frames=2,
            muxer={"movflags": "frag_keyframe+empty_moov+default_base_moof"},
        ),
        "mp4",
    ),
    "uneven": (
        SyntheticVideo(
            count=300, gop=25, b_frames=2, times=[Fraction(k * k, 2000) for k in range(300)]
        ),
        "mp4",
    ),
    "offset": (SyntheticVideo(count=300, gop=25, b_frames=2, start=100), "mp4"),
}


def textured(number: int, width: int, height: int) -> np.ndarray:
    """Draw the board with noise that changes every few frames, so that prediction matters."""
    noise = np.random.default_rng(number // 7).integers(-30, 30, (height, width, 3))
    return np.clip(paint(number, width, height) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=VIDEOS)
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    video, suffix = VIDEOS[request.param]
    video.draw = textured
    return video.write(tmp_path_factory.mktemp("seek") / f"film.{suffix}")


@pytest.fixture
def seeks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Fraction]]:
    """Target times of the seeks."""
    times: list[Fraction] = []
    original = FrameReader.seek

    def seek(self: FrameReader, time: Fraction, **options: bool) -> None:
        times.append(time)
        original(self, time, **options)

    monkeypatch.setattr(FrameReader, "seek", seek)
    yield times


def same(some: list[FrameChunk], others: list[FrameChunk]) -> bool:
    return len(some) == len(others) and all(
        np.array_equal(a.frames, b.frames)
        and a.first_index == b.first_index
        and a.stop_index == b.stop_index
        and all(
            np.array_equal(getattr(a.times, name), getattr(b.times, name))
            for name in ("indices", "pts", "start_seconds", "end_seconds")
        )
        for a, b in zip(some, others, strict=True)
    )


@pytest.mark.parametrize("kind", ["rate", "uniform"])
def test_resuming_is_bit_identical(video: Path, kind: str, seeks: list[Fraction]) -> None:
    config = sampling(kind, fps=5, num_frames=60)
    whole = read(video, config, chunk_size=8)
    for first in (24, 40, 48):
        before = [c for c in whole.chunks if c.first_index < first]
        after = [c for c in whole.chunks if c.first_index >= first]
        for known in (None, int(before[-1].times.pts[-1])):
            seeks.clear()
            part = read(video, config, chunk_size=8, first_index=first, known_pts=known)
            assert len(seeks) == 1
            assert same(part.chunks, after)
            assert part.summary.end_seconds == whole.summary.end_seconds
            assert part.summary.stats.num_frames < whole.summary.stats.num_frames
            assert part.summary.problems == ()


@pytest.mark.parametrize("frame", range(117, 126))
def test_damage_near_a_border_is_counted_once(
    tmp_path: Path, frame: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = SyntheticVideo(count=200, gop=25, b_frames=3).write(tmp_path / "film.mp4")
    note = FrameReader._note

    def note_damage(reader: FrameReader, packet: Any) -> None:
        note(reader, packet)
        if round(packet.pts * packet.time_base * 25) == frame:
            reader.counters.count("num_corrupt")

    monkeypatch.setattr(FrameReader, "_note", note_damage)
    config = sampling(fps=5)
    whole = [c.stats.num_corrupt for c in read(video, config, chunk_size=8).chunks]
    parts = (
        *read(video, config, chunk_size=8, stop_index=24).chunks,
        *read(video, config, chunk_size=8, first_index=24).chunks,
    )
    assert sum(whole) == 1
    assert [c.stats.num_corrupt for c in parts] == whole


@pytest.mark.parametrize("kind", ["stride", "all", "keyframes"])
def test_a_span_is_bit_identical(
    video: Path, kind: str, seeks: list[Fraction], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, span = sampling(kind, stride=3), TimeRange(Fraction(6), Fraction(9))
    sought = read(video, config, span=span, chunk_size=8)
    assert len(seeks) == 1

    def refuse(self: FrameReader, time: Fraction, **options: bool) -> None:
        raise SeekUnverifiedError

    monkeypatch.setattr(FrameReader, "seek", refuse)
    straight = read(video, config, span=span, chunk_size=8)
    assert len(straight.chunks) > 0
    assert same(sought.chunks, straight.chunks)


@pytest.mark.parametrize("kind", ["stride", "all", "keyframes"])
def test_kinds_that_count_resume_from_their_start(tmp_path: Path, kind: str) -> None:
    path = SyntheticVideo(count=300, gop=5).write(tmp_path / "film.mp4")
    config = sampling(kind, stride=3)
    whole = read(path, config, chunk_size=8)
    part = read(path, config, chunk_size=8, first_index=32)
    assert same(part.chunks, [c for c in whole.chunks if c.first_index >= 32])


@pytest.mark.parametrize("suffix", ["ts", "avi", "flv"])
def test_formats_without_a_reliable_index_are_read_from_the_start(
    tmp_path: Path, suffix: str, seeks: list[Fraction]
) -> None:
    path = SyntheticVideo(count=300, gop=25).write(tmp_path / f"film.{suffix}")
    whole = read(path, sampling(fps=5), chunk_size=8)
    part = read(path, sampling(fps=5), chunk_size=8, first_index=40)
    assert same(part.chunks, [c for c in whole.chunks if c.first_index >= 40])
    assert seeks == []


def test_a_seek_without_the_known_frame_is_rejected(tmp_path: Path, seeks: list[Fraction]) -> None:
    path = SyntheticVideo(count=300, gop=25).write(tmp_path / "film.mp4")
    whole = read(path, sampling(fps=5), chunk_size=8)
    known = int(whole.times.pts[39]) - 1  # no frame has this time
    part = read(path, sampling(fps=5), chunk_size=8, first_index=40, known_pts=known)
    assert len(seeks) == 1
    assert same(part.chunks, [c for c in whole.chunks if c.first_index >= 40])
    assert part.summary.stats.num_frames < 150  # only what the wanted part met is counted


def test_files_with_guessed_first_times_are_read_from_the_start(
    tmp_path: Path, seeks: list[Fraction]
) -> None:
    """Matroska stores no negative times: those of the first frames are lost, and libav computes
    them from later frames."""
    video = SyntheticVideo(count=200, gop=25, codec="mpeg4", options={}, ticks=25, b_frames=1)
    path, options = tmp_path / "early.mkv", {"avoid_negative_ts": "disabled"}
    with (
        av.open(str(video.write(tmp_path / "film.mp4"))) as source,
        av.open(str(path), "w", options=options) as early,
    ):
        stream = early.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts -= int(Fraction(1, 2) / packet.time_base)
                packet.dts -= int(Fraction(1, 2) / packet.time_base)
                packet.stream = stream
                early.mux(packet)
    whole = read(path, sampling(fps=25), chunk_size=8)
    part = read(path, sampling(fps=25), chunk_size=8, first_index=96)
    assert same(part.chunks, [c for c in whole.chunks if c.first_index >= 96])
    assert seeks == []


def test_a_file_that_marks_all_packets_as_keyframes_is_read_from_the_start(tmp_path: Path) -> None:
    """An MP4 without a table of sync samples marks all as such, so a seek may land anywhere."""
    path = SyntheticVideo(count=300, gop=25, b_frames=2, draw=textured).write(tmp_path / "film.mp4")
    whole = read(path, sampling(fps=5), chunk_size=8)
    path.write_bytes(path.read_bytes().replace(b"stss", b"free"))
    part = read(path, sampling(fps=5), chunk_size=8, first_index=40)
    assert same(part.chunks, [c for c in whole.chunks if c.first_index >= 40])


def test_a_range_after_the_end_is_empty(tmp_path: Path) -> None:
    path = SyntheticVideo(count=100, gop=25).write(tmp_path / "film.mp4")
    reading: Reading = read(path, sampling(fps=5), chunk_size=8, first_index=800)
    assert reading.chunks == []
    assert reading.summary.reached_end
    assert reading.summary.end_seconds == 4


def test_the_first_index_must_be_a_multiple_of_the_chunk_size(tmp_path: Path) -> None:
    path = SyntheticVideo(count=10).write(tmp_path / "film.mp4")
    with pytest.raises(ValueError, match="not a multiple"):
        read(path, chunk_size=8, first_index=4)
