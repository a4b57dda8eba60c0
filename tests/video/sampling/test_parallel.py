"""Parts that are decoded in parallel give the result of one pass."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from tests.synth import SyntheticVideo, truncated, whole
from tests.video.decoding.test_hardware import HOST
from tests.video.decoding.test_seek import VIDEOS, same, textured
from tests.video.reading import Reading, read, sampling
from vtnstream.config import SamplingConfig
from vtnstream.types import DecodeSummary, FrameChunk, TimeRange
from vtnstream.video.sampling import parallel, pieces
from vtnstream.video.sampling.parallel import ParallelPass
from vtnstream.video.sampling.passes import Pass
from vtnstream.video.source import open_video

KINDS = {
    "rate": sampling(fps=5),
    "odd rate": sampling(fps="7/3"),
    "uniform": sampling("uniform", num_frames=60),
    "all": sampling("all"),
}
NOT_CERTAIN = ("open", "open mkv", "intra refresh")
"""Videos whose keyframes depend on earlier packets according to the bit stream."""


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_USUAL_SECONDS", Fraction(1))
    monkeypatch.setattr(pieces, "SHORTEST_PIECE", Fraction(0))
    monkeypatch.setattr(parallel._LoadMeter, "idle", lambda self, cores: float(cores))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Record of the started reads: parts, and passes over the whole file."""
    begun: list[str] = []
    for name in ("piece", "chunks"):
        original = getattr(Pass, name)

        def begin(self: Pass, name: str = name, original: Any = original) -> Any:
            begun.append(name)
            return original(self)

        monkeypatch.setattr(Pass, name, begin)
    yield begun


@pytest.fixture(scope="module", params=VIDEOS)
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    video, suffix = VIDEOS[request.param]
    video.draw = textured
    name = request.param.replace(" ", "_")
    return video.write(tmp_path_factory.mktemp("parallel") / f"{name}.{suffix}")


def counted(summary: DecodeSummary) -> DecodeSummary:
    """Return the summary without properties that differ from one pass: packets and frames, which
    overlapping parts read twice, and frame numbers, which only one pass counts."""
    stats = replace(summary.stats, num_packets=0, num_frames=0)
    return replace(summary, stats=stats, frames=None)


def both(path: Path, config: SamplingConfig, **options: Any) -> tuple[Reading, Reading]:
    options.setdefault("chunk_size", 4)
    return read(path, config, decoders=3, **options), read(path, config, **options)


def assert_same(some: Reading, other: Reading) -> None:
    assert same(some.chunks, other.chunks)
    assert counted(some.summary) == counted(other.summary)


@pytest.mark.parametrize("kind", KINDS)
def test_parallel_decoding_gives_the_same_chunks(video: Path, kind: str, passes: list[str]) -> None:
    together, alone = both(video, KINDS[kind])
    assert_same(together, alone)
    if video.stem in [name.replace(" ", "_") for name in NOT_CERTAIN]:
        assert passes.count("chunks") == 2
    else:
        assert passes.count("piece") >= 3
        assert passes.count("chunks") == 1  # the pass alone


def test_parallel_decoding_of_a_range_gives_the_same_chunks(
    tmp_path: Path, passes: list[str]
) -> None:
    path = SyntheticVideo(count=300, gop=25, b_frames=3, draw=textured).write(tmp_path / "film.mp4")
    straight = read(path, KINDS["rate"], chunk_size=4)
    known = int(straight.times.pts[15])
    for first, stop, pts in ((0, 40, None), (16, None, None), (16, 48, known), (56, None, None)):
        passes.clear()
        together, alone = both(
            path, KINDS["rate"], first_index=first, stop_index=stop, known_pts=pts
        )
        assert_same(together, alone)
        assert together.indices[0] == first
    together, alone = both(path, KINDS["rate"], skip=False)
    assert_same(together, alone)


@pytest.mark.parametrize("waiting", [True, False])
def test_a_second_decoder_joins_within_the_first_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: bool
) -> None:
    """A decoder is added once the consumer has had a chunk and waits for others."""
    monkeypatch.setattr(parallel, "_PROBE_SECONDS", 0.0)
    monkeypatch.setattr(pieces, "_USUAL_SECONDS", Fraction(8))  # ten tokens, 2 s a part
    measured: list[int] = []
    together: list[bool] = []

    def idle(self: parallel._LoadMeter, cores: int) -> float:
        measured.append(cores)
        return float(cores) if waiting else 0.0

    start = ParallelPass._start

    def watch(self: ParallelPass, *arguments: Any) -> None:
        start(self, *arguments)
        first = self._running and self._running[0].piece.request.token_range.first == 0
        together.append(bool(first) and len(self._running) > 1)

    monkeypatch.setattr(parallel._LoadMeter, "idle", idle)
    monkeypatch.setattr(ParallelPass, "_start", watch)
    path = SyntheticVideo(count=600, gop=25, b_frames=3, draw=textured).write(tmp_path / "film.mp4")
    together_read, alone = both(path, KINDS["rate"], chunk_size=2)
    assert_same(together_read, alone)
    assert measured and any(together) == waiting


def test_parts_of_numbered_frames_give_the_same_chunks(tmp_path: Path, passes: list[str]) -> None:
    """Frames are numbered from the start of a range."""
    path = SyntheticVideo(count=300, gop=25, b_frames=3, draw=textured).write(tmp_path / "film.mp4")
    config, span = sampling("all"), TimeRange(Fraction("3.3"), Fraction(10))
    straight = read(path, config, chunk_size=4, span=span)
    known = int(straight.times.pts[39])
    pieces = {}
    for first, stop, pts in ((0, None, None), (0, 130, None), (40, None, known), (40, None, None)):
        passes.clear()
        together, alone = both(
            path, config, first_index=first, stop_index=stop, known_pts=pts, span=span
        )
        assert_same(together, alone)
        assert together.indices[0] == first
        assert together.numbers[0] == 83 + first
        pieces[first, pts] = passes.count("piece")
    assert pieces[0, None] >= 3
    assert pieces[40, known] >= 3
    assert not pieces[40, None]  # read from the start of the range
    passes.clear()
    assert_same(*both(path, config, first_index=40, known_pts=known + 1, span=span))
    assert passes == ["piece", "chunks", "chunks"]


def test_a_gap_takes_one_index(tmp_path: Path) -> None:
    """Packets do not show the gap, so the parts after it do not match those before."""
    path = SyntheticVideo(count=300, gop=25, lost=range(150, 225)).write(tmp_path / "film.mkv")
    together, alone = both(path, sampling("all"))
    assert_same(together, alone)
    assert alone.indices == [*range(150), *range(151, 226)]


def test_packets_without_a_displayed_frame_are_not_numbered(tmp_path: Path) -> None:
    """There are more packets than displayed frames."""
    options = {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"}
    video = SyntheticVideo(count=150, gop=25, codec="libvpx", options=options, draw=textured)
    path = video.write(tmp_path / "film.webm")
    assert_same(*both(path, sampling("all")))


def test_a_video_cut_at_an_open_gop_is_numbered(tmp_path: Path) -> None:
    """The video begins with packets of frames that cannot be decoded."""
    options = {
        "preset": "ultrafast",
        "x265-params": "log-level=none:pools=1:keyint=27:min-keyint=2:open-gop=1:scenecut=0",
    }
    video = SyntheticVideo(count=150, codec="libx265", options=options, gop=27, b_frames=3)
    path, keyframes, packets = tmp_path / "cut.mkv", 0, 0
    with av.open(str(video.write(tmp_path / "film.mkv"))) as source, av.open(path, "w") as cut:
        stream = cut.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            keyframes += packet.is_keyframe
            if packet.size and keyframes > 1:
                packets += 1
                packet.stream = stream
                cut.mux(packet)
    together, alone = both(path, sampling("all"))
    assert_same(together, alone)
    assert together.indices[0] == 0
    assert len(together.indices) < packets


def test_parts_begin_at_keyframes(tmp_path: Path) -> None:
    """Each part decodes less than a chunk of frames that are not needed."""
    path = SyntheticVideo(count=300, gop=37, b_frames=2).write(tmp_path / "film.mp4")
    together, alone = both(path, sampling("all"))
    assert_same(together, alone)
    extra = together.summary.stats.num_frames - alone.summary.stats.num_frames
    assert 0 <= extra <= 300 // 37 * 4


@pytest.mark.parametrize("how", ["broken", "lost", "cut", "header"])
@pytest.mark.parametrize("skip", [True, False, None])
def test_damage_gives_the_report_of_one_pass(tmp_path: Path, how: str, skip: bool | None) -> None:
    video = SyntheticVideo(count=300, gop=25, b_frames=3, draw=textured)
    if how == "broken":
        video.broken = range(150, 170)
    if how == "lost":
        video.lost = range(150, 230)
    if how == "header":
        video.muxer = {"movflags": "faststart"}
    path = video.write(tmp_path / ("film.mp4" if how == "header" else "film.mkv"))
    if how in ("cut", "header"):
        path = truncated(path, 0.6, tmp_path / f"cut{path.suffix}")
    kind = "all" if skip is None else "rate"
    together, alone = both(path, KINDS[kind], skip=bool(skip))
    assert_same(together, alone)
    assert alone.summary.problems
    if how in ("broken", "lost"):
        assert together.summary.stats == alone.summary.stats  # one pass was what counted


def test_parts_that_do_not_match_are_read_in_one_pass(
    tmp_path: Path, passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = SyntheticVideo(count=300, gop=25, draw=textured).write(tmp_path / "film.mp4")
    check = ParallelPass._check

    def forget(self: ParallelPass, current: Any, chunk: Any) -> None:
        check(self, current, chunk)
        if self._landmark is not None and self._landmark[0] > 30:
            self._landmark = (self._landmark[0], -1)

    monkeypatch.setattr(ParallelPass, "_check", forget)
    together, alone = both(path, KINDS["rate"])
    assert_same(together, alone)
    assert passes.count("chunks") == 2


@pytest.mark.parametrize("name", ["film.ts", "film.avi"])
def test_formats_without_a_reliable_index_are_read_in_one_pass(
    tmp_path: Path, name: str, passes: list[str]
) -> None:
    path = SyntheticVideo(count=200, gop=25).write(tmp_path / name)
    together, alone = both(path, KINDS["rate"])
    assert_same(together, alone)
    assert "piece" not in passes


def test_short_videos_are_read_in_one_pass(
    tmp_path: Path, passes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    path = SyntheticVideo(count=200, gop=25).write(tmp_path / "film.mp4")
    assert_same(*both(path, KINDS["rate"]))
    assert "piece" not in passes


def test_packets_are_numbered_only_if_parts_are_long_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """128 large frames are a few seconds, which is too short to read all packets for it."""
    monkeypatch.undo()
    read_all: list[Pass] = []
    monkeypatch.setattr(Pass, "find_numbers", lambda self: read_all.append(self))
    path = SyntheticVideo(count=260, gop=25, size=(64, 48)).write(tmp_path / "film.mp4")
    for size, numbered in ((224, 0), (32, 1)):
        read_all.clear()
        read(path, KINDS["all"], chunk_size=4, decoders=2, fit=whole(size))
        assert len(read_all) == numbered


def test_waiting_frames_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All decoders wait for a consumer that does not read."""
    path = SyntheticVideo(count=1500, gop=25, size=(64, 48)).write(tmp_path / "film.mp4")
    made: list[int] = []
    original = Pass.piece

    def piece(self: Pass) -> Iterator[FrameChunk]:
        for chunk in original(self):
            made.append(chunk.first_index)
            yield chunk

    monkeypatch.setattr(Pass, "piece", piece)
    with open_video(path, sampling(fps=5), fit=whole(32), chunk_size=4, decoders=2) as source:
        chunks = source.chunks()
        taken = [next(chunks) for _ in range(10)]
        time.sleep(0.5)
        # Parts have one chunk: the requested one, the next one, the one that confirms its end,
        # and one for each decoder.
        assert len(made) <= len(taken) + 1 + 3
        assert len(list(chunks)) == 75 - len(taken)
    assert sorted(made) == list(range(0, 300, 4))


@pytest.mark.parametrize("slow", [True, False])
def test_decoders_are_added_if_cores_are_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: bool
) -> None:
    """While the consumer is busy, one decoder reads parts of increasing length."""
    monkeypatch.undo()
    monkeypatch.setattr(pieces, "_USUAL_SECONDS", Fraction(2))
    monkeypatch.setattr(pieces, "SHORTEST_PIECE", Fraction(0))
    most, started = 0, []
    start = ParallelPass._start

    def watch(self: ParallelPass, *arguments: Any) -> None:
        nonlocal most
        start(self, *arguments)
        most = max(most, self._working)
        started.extend(run for run in self._running if run not in started)

    monkeypatch.setattr(ParallelPass, "_start", watch)
    path = SyntheticVideo(count=600, gop=25, size=(96, 64)).write(tmp_path / "film.mp4")
    with open_video(path, sampling(fps=5), fit=whole(32), chunk_size=4, decoders=3) as source:
        for _chunk in source.chunks():
            time.sleep(0.05 if slow else 0)
    assert (most == 1) == slow
    assert (len(started) <= 5) == slow  # each twice as long as the one before


def test_all_decoders_of_a_gpu_start_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need little CPU time and do not wait for idle cores; surfaces come from software."""
    monkeypatch.setattr(parallel._LoadMeter, "idle", lambda self, cores: 0.0)
    running: list[int] = []
    start = ParallelPass._start

    def watch(self: ParallelPass, *arguments: Any) -> None:
        start(self, *arguments)
        running.append(len(self._running))

    monkeypatch.setattr(ParallelPass, "_start", watch)
    path = SyntheticVideo(count=300, gop=25, b_frames=2).write(tmp_path / "film.mp4")
    together, alone = both(path, KINDS["rate"], hardware=HOST)
    assert running[0] >= 3
    for some, other in zip(together.chunks, alone.chunks, strict=True):
        assert torch.equal(some.frames, other.frames)
        assert np.array_equal(some.times.pts, other.times.pts)
    assert counted(together.summary) == counted(alone.summary)


def test_an_early_end_closes_all_files(tmp_path: Path) -> None:
    path = SyntheticVideo(count=500, gop=25).write(tmp_path / "film.mp4")

    def num_open() -> int:
        return len(os.listdir("/proc/self/fd"))

    before, threads = num_open(), threading.active_count()
    for _ in range(3):
        with open_video(path, sampling(fps=5), fit=whole(32), chunk_size=4, decoders=3) as source:
            for _chunk in source.chunks():
                break
    assert num_open() == before
    assert threading.active_count() == threads


def test_the_limit_of_waiting_frames_depends_on_their_size() -> None:
    assert pieces.frames_waiting(4, 1, 4608) == 0
    assert pieces.frames_waiting(4, 2, 3 * 224 * 224) == 3 * 128
    assert pieces.frames_waiting(300, 2, 3 * 224 * 224) == 3 * 300
    assert pieces.frames_waiting(16, 2, 48 * 32 * 3) * 48 * 32 * 3 <= 3 * 16 << 20


def test_the_number_of_decoders_must_be_positive(tmp_path: Path) -> None:
    path = SyntheticVideo(count=5).write(tmp_path / "film.mp4")
    with pytest.raises(ValueError, match="decoders"):
        read(path, decoders=0)
