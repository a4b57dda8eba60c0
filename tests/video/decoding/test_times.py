"""Player time is correct for every clock, and gaps are found where no frame is displayed."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest

from tests.synth import SyntheticVideo, joined
from tests.video.reading import read, sampling
from vtnstream.video.decoding.clock import FrameClock
from vtnstream.video.probe import StreamFacts, probe

FIVE = sampling(fps=5)
EVERY_FIFTH = list(range(0, 50, 5))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "flv", "avi", "mov"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_containers_give_equal_times(tmp_path: Path, suffix: str, b_frames: int) -> None:
    path = SyntheticVideo(start=0 if suffix == "avi" else 7, b_frames=b_frames).write(
        tmp_path / f"film.{suffix}"
    )
    reading = read(path, FIVE)
    assert reading.numbers == EVERY_FIFTH
    assert reading.indices == list(range(10))
    assert reading.summary.end_seconds == pytest.approx(2, abs=0.03)
    assert reading.summary.problems == ()


@pytest.mark.parametrize("codec", ["mpeg4", "mpeg2video"])
def test_avi_without_presentation_times_uses_decoding_times(tmp_path: Path, codec: str) -> None:
    video = SyntheticVideo(codec=codec, options={}, ticks=25, b_frames=2)
    reading = read(video.write(tmp_path / "film.avi"), FIVE)
    assert reading.numbers == EVERY_FIFTH
    assert reading.starts == [k / 5 for k in range(10)]
    assert "without presentation times" in reading.summary.warnings[0]


@pytest.mark.parametrize("kind", ["rate", "uniform"])
def test_an_elementary_stream_is_timed_at_its_own_rate(tmp_path: Path, kind: str) -> None:
    video = SyntheticVideo(rate=Fraction(30000, 1001), count=60, format="h264", b_frames=2)
    video.ticks = video.rate  # a bit stream knows its rate by its ticks
    path = video.write(tmp_path / "film.h264")
    info = probe(path)
    assert info.average_rate == Fraction(30000, 1001)
    assert "without times" in info.warnings[0]
    reading = read(path, sampling(kind, fps=5, num_frames=4))
    by_rate = [0, 5, 11, 17, 23, 29, 35, 41, 47, 53, 59]
    assert reading.numbers == (by_rate if kind == "rate" else [0, 19, 39, 59])
    assert reading.summary.end_seconds == pytest.approx(60 * 1.001 / 30)


def test_time_continues_after_a_clock_jumps_back(tmp_path: Path) -> None:
    part = SyntheticVideo(count=50).write(tmp_path / "part.ts")
    reading = read(joined(tmp_path / "joined.ts", part, part), FIVE)
    assert reading.numbers == EVERY_FIFTH * 2
    assert reading.starts == [k / 5 for k in range(20)]
    assert "jumps back" in reading.summary.warnings[0]
    assert "0:01.96" in reading.summary.warnings[0]
    assert reading.summary.end_seconds == 4


def test_missing_packets_of_a_transport_stream_are_a_gap(tmp_path: Path) -> None:
    data = bytearray(SyntheticVideo(count=400, gop=25).write(tmp_path / "whole.ts").read_bytes())
    packets = len(data) // 188
    del data[188 * (packets // 3) : 188 * (packets * 2 // 3)]
    path = tmp_path / "hole.ts"
    path.write_bytes(data)
    reading = read(path)
    missing = set(range(32)) - set(reading.indices)
    assert 8 <= len(missing) <= 11
    assert missing == set(range(min(missing), max(missing) + 1))
    # After the gap, time and frame number still match.
    shown = reading.shown()
    assert all(abs(shown[k] - 12.5 * k) <= 1 for k in shown if k > max(missing))
    assert any("no frames from" in problem for problem in reading.summary.problems)


def test_a_gap_between_stored_durations_is_found(tmp_path: Path) -> None:
    """Matroska stores 40 ms per frame, so no frame is displayed from 2.0 to 4.8 s."""
    path = SyntheticVideo(count=200, gop=10, lost=range(50, 120)).write(tmp_path / "hole.mkv")
    reading = read(path)
    # A frame is held for max(1 s, 2 / fps) after its time: 1.96 + 1 < 3.0.
    assert reading.indices == [0, 1, 2, 3, 4, 5, *range(10, 16)]
    assert reading.ends[5] == 3.0  # the end of its cell
    assert reading.starts[6] == 5.0
    assert reading.numbers[4:7] == [49, 49, 125]
    assert reading.summary.problems == ("no frames from 0:02.00 to 0:04.80",)
    assert reading.summary.reached_end


@pytest.mark.parametrize("fps", ["1/4", "2", "8"])
def test_a_frame_is_held_for_two_grid_cells_and_at_least_a_second(tmp_path: Path, fps: str) -> None:
    path = SyntheticVideo(count=500, gop=10, lost=range(50, 350)).write(
        tmp_path / "hole.mkv"
    )  # 2 to 14 s
    reading = read(path, sampling(fps=fps))
    rate = Fraction(fps)
    patience = max(Fraction(1), 2 / rate)
    last, following = Fraction(49, 25), Fraction(14)
    wanted = [k for k in range(int(20 * rate)) if not last + patience < k / rate < following]
    assert reading.indices == wanted


@pytest.mark.parametrize("kind", ["all", "stride", "uniform"])
def test_tokens_end_at_a_gap_with_their_frame(tmp_path: Path, kind: str) -> None:
    path = SyntheticVideo(count=200, gop=10, lost=range(50, 120)).write(tmp_path / "hole.mkv")
    reading = read(path, sampling(kind, stride=7, num_frames=20))
    ends, starts = reading.ends, reading.starts
    (place,) = [i for i in range(len(ends) - 1) if starts[i + 1] - ends[i] > 0.5]
    assert ends[place] == 2.0
    assert starts[place + 1] >= 4.8
    if kind != "uniform":  # no two tokens across a gap are neighbours
        assert reading.indices[place + 1] - reading.indices[place] == 2


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_slide_is_displayed_for_its_stored_duration(
    tmp_path: Path, suffix: str, b_frames: int
) -> None:
    times = [0, 0.1, 0.5, 0.7, 30, 30.1, 90, 90.5]
    video = SyntheticVideo(count=8, times=times, last_seconds=20, b_frames=b_frames)
    reading = read(video.write(tmp_path / f"slides.{suffix}"), sampling(fps=1))
    shown = reading.shown()
    assert [shown[k] for k in (0, 1, 29, 30, 31, 89, 90)] == [0, 3, 3, 4, 5, 5, 6]
    assert reading.summary.problems == ()
    if not b_frames:  # with B-frames the muxer gives the last duration to another frame
        assert reading.indices == list(range(111))
        assert reading.summary.end_seconds == 110.5


def test_a_missing_fragment_is_a_gap(tmp_path: Path) -> None:
    video = SyntheticVideo(
        count=250, gop=25, muxer={"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    )
    data = video.write(tmp_path / "whole.mp4").read_bytes()
    boxes, place = [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        boxes.append((data[place + 4 : place + 8], data[place : place + size]))
        place += size
    fragments = [i for i, (kind, _) in enumerate(boxes) if kind == b"moof"]
    gone = {i + d for i in fragments[3:6] for d in (0, 1)}
    path = tmp_path / "hole.mp4"
    path.write_bytes(
        b"".join(b for i, (kind, b) in enumerate(boxes) if i not in gone and kind != b"mfra")
    )
    reading = read(path)
    assert set(range(20)) - set(reading.indices) == set(range(8, 12))
    assert reading.summary.problems == ("no frames from 0:03.00 to 0:06.00",)


def test_a_huge_clock_jump_takes_no_time(tmp_path: Path) -> None:
    first = SyntheticVideo(count=50).write(tmp_path / "a.ts")
    second = SyntheticVideo(count=50, start=20 * 3600).write(tmp_path / "b.ts")
    reading = read(joined(tmp_path / "joined.ts", first, second), sampling(fps=100), chunk_size=8)
    assert reading.indices[-1] > 20 * 3600 * 100
    assert len(reading.chunks) < 100


FACTS = StreamFacts(
    start=Fraction(10),
    time_base=Fraction(1, 90_000),
    frame_seconds=Fraction(1, 25),
    declared=False,
    contiguous=False,
    raw_rate=None,
    wraps=True,
    seekable=False,
    header_end=None,
    container_end=None,
)
TICK, START = 3600, 900_000


def placed(
    stamps: list[int | None], facts: StreamFacts = FACTS
) -> tuple[list[float | None], FrameClock]:
    clock = FrameClock(facts)
    places = [clock.place(stamp, None) for stamp in stamps]
    return [None if p is None else round(float(p.time), 4) for p in places], clock


def test_clock_subtracts_the_start() -> None:
    assert placed([START, START + TICK])[0] == [0, 0.04]


def test_clock_wraps_without_a_warning() -> None:
    top = 2**33
    times, clock = placed([top - TICK, top - 1, TICK - 1, 2 * TICK - 1])
    steps = [round(b - a, 3) for a, b in pairwise(times)]
    assert steps == [0.04, 0.04, 0.04]
    assert clock.warnings == []


def test_clock_drops_frames_whose_time_does_not_increase() -> None:
    times, clock = placed([START + k * TICK for k in (0, 2, 1, 2, 3)])
    assert times == [0, 0.08, None, None, 0.12]
    assert clock.warnings == []


def test_one_wrong_timestamp_does_not_shift_later_frames() -> None:
    stamps = [START + k * TICK for k in range(100)]
    stamps[60] = START
    times, clock = placed(stamps)
    assert times[59] == 2.36
    assert times[99] == 3.96
    assert len(clock.warnings) == 1


def test_clock_anchors_a_jump_of_more_than_a_day() -> None:
    times, clock = placed([START, START + TICK, START + 30 * 3600 * 90_000], FACTS_NO_WRAP)
    assert times == [0, 0.04, 0.08]
    assert "jumps ahead" in clock.warnings[0]


def test_times_are_computed_from_the_rate_without_timestamps() -> None:
    times, clock = placed([START, None, None, START + 3 * TICK])
    assert times == [0, 0.04, 0.08, 0.12]
    assert len(clock.warnings) == 1


FACTS_NO_WRAP = StreamFacts(
    **{
        name: getattr(FACTS, name) if name != "wraps" else False
        for name in StreamFacts.__dataclass_fields__
    }
)
