"""Every kind of sampling gives the correct frames and times for every kind of video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.synth import SyntheticVideo, truncated
from tests.video.reading import Reading, read, sampling
from vtnstream.config import SamplingConfig
from vtnstream.types import TimeRange
from vtnstream.video.probe import probe
from vtnstream.video.sampling.grid import Burst, estimate_num_tokens, index_range

UNEVEN = [0, 0.1, 0.5, 0.7, 1.2, 1.3, 1.35, 2.0, 2.9, 3.0, 3.6]
"""Presentation times of a video of variable rate; the last frame is displayed for 0.4 s."""
QUARTER_TURN = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
VIDEOS = {
    "constant": SyntheticVideo(),
    "b-frames": SyntheticVideo(b_frames=2),
    "ntsc": SyntheticVideo(rate=Fraction(30000, 1001)),
    "uneven": SyntheticVideo(count=11, times=UNEVEN, last_seconds=0.4),
    "uneven b-frames": SyntheticVideo(count=11, times=UNEVEN, last_seconds=0.4, b_frames=2),
    "offset": SyntheticVideo(start=10),
    "turned": SyntheticVideo(matrix=QUARTER_TURN, size=(96, 128)),
}
KINDS = {
    "rate": sampling(fps=5),
    "slow rate": sampling(fps="1/2"),
    "fast rate": sampling(fps=60),
    "uniform": sampling("uniform", num_frames=7),
    "uniform beyond": sampling("uniform", num_frames=130),
    "stride": sampling("stride", stride=3),
    "all": sampling("all"),
}


def expected(video: SyntheticVideo, config: SamplingConfig) -> tuple[list[int], list[Fraction]]:
    """Return frame numbers and start times by the definition, from the video's times."""
    times = video.presentation_times()
    last = Fraction(video.last_seconds or 1 / Fraction(video.rate)).limit_denominator(100_000)
    end = times[-1] + last
    if config.kind == "rate":
        starts = []
        while len(starts) / config.fps < end:
            starts.append(len(starts) / config.fps)
        return [max(i for i, t in enumerate(times) if t <= s) for s in starts], starts
    if config.kind == "uniform":
        picks = np.floor(np.linspace(0, len(times) - 1, config.num_frames)).astype(int).tolist()
        starts = []
        for position, pick in enumerate(picks):
            first, repeats = picks.index(pick), picks.count(pick)
            later = picks[first + repeats] if first + repeats < len(picks) else None
            until = end if later is None else times[later]
            starts.append(times[pick] + (until - times[pick]) * (position - first) / repeats)
        return picks, starts
    step = config.stride if config.kind == "stride" else 1
    numbers = list(range(0, len(times), step))
    return numbers, [times[i] for i in numbers]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("films")
    return {name: video.write(folder / f"{name}.mp4") for name, video in VIDEOS.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("video", VIDEOS)
def test_frames_and_times_equal_the_definition(
    videos: dict[str, Path], video: str, kind: str
) -> None:
    numbers, starts = expected(VIDEOS[video], KINDS[kind])
    reading = read(videos[video], KINDS[kind])
    if video != "turned":  # turned boards are read in test_frames
        assert reading.numbers == numbers
    assert reading.indices == list(range(len(numbers)))
    assert np.allclose(reading.times.start_seconds, [float(s) for s in starts], atol=2e-5)
    assert reading.summary.problems == ()
    assert reading.summary.reached_end


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("video", VIDEOS)
def test_a_token_ends_where_the_next_starts(videos: dict[str, Path], video: str, kind: str) -> None:
    reading = read(videos[video], KINDS[kind])
    times = reading.times
    assert (times.end_seconds[:-1] == times.start_seconds[1:]).all()
    assert times.end_seconds[-1] > times.start_seconds[-1]
    assert times.end_seconds[-1] <= reading.summary.end_seconds + 1e-9


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_video_is_partial(tmp_path: Path, kind: str) -> None:
    whole = SyntheticVideo(count=200, gop=25, muxer={"movflags": "faststart"}).write(
        tmp_path / "whole.mp4"
    )
    reading = read(truncated(whole, 0.5, tmp_path / "cut.mp4"), KINDS[kind])
    assert any("at 0:08.00 by its header" in problem for problem in reading.summary.problems)
    assert 2 < reading.summary.end_seconds < 6
    assert reading.times.end_seconds[-1] <= reading.summary.end_seconds + 1e-9


BURSTS = {
    "one after the other": (Fraction(4), Burst(2, Fraction(1, 8))),
    "apart": (Fraction(2), Burst(3, Fraction(1, 10))),
    "rare": (Fraction(1, 2), Burst(4, Fraction(1, 25))),
}


@pytest.mark.parametrize("burst", BURSTS)
@pytest.mark.parametrize("video", ["b-frames", "uneven"])
def test_bursts_are_the_frames_displayed_at_their_times(
    videos: dict[str, Path], video: str, burst: str
) -> None:
    fps, frames = BURSTS[burst]
    times, end = VIDEOS[video].presentation_times(), Fraction(4 if video == "uneven" else 2)
    points = [k / fps + i * frames.step for k in range(17) for i in range(frames.frames)]
    points = [point for point in points if point < end]
    assert points == sorted(points)
    reading = read(videos[video], SamplingConfig(fps=fps), burst=frames)
    assert reading.indices == list(range(len(points)))
    assert reading.numbers == [max(i for i, t in enumerate(times) if t <= p) for p in points]
    assert np.allclose(reading.times.start_seconds, [float(p) for p in points], atol=2e-5)
    assert (reading.times.end_seconds[:-1] == reading.times.start_seconds[1:]).all()


def test_bursts_after_a_seek_equal_those_of_a_whole_pass(tmp_path: Path) -> None:
    path = SyntheticVideo(count=200, gop=10).write(tmp_path / "film.mp4")
    config, burst = SamplingConfig(fps=Fraction(2)), Burst(2, Fraction(2, 25))
    whole = read(path, config, burst=burst, chunk_size=4)
    known = int(whole.times.pts[19])
    part = read(path, config, burst=burst, chunk_size=4, first_index=20, known_pts=known)
    assert part.indices == list(range(20, 32))
    assert part.numbers == whole.numbers[20:] and part.ends == whole.ends[20:]
    assert part.summary.stats.num_frames < whole.summary.stats.num_frames / 2


def test_keyframes_are_sampled(tmp_path: Path) -> None:
    path = SyntheticVideo(gop=12).write(tmp_path / "film.mp4")
    reading = read(path, sampling("keyframes"))
    assert reading.numbers == [0, 12, 24, 36, 48]
    assert reading.starts == [0, 0.48, 0.96, 1.44, 1.92]
    assert reading.ends == [0.48, 0.96, 1.44, 1.92, 1.96]
    assert reading.summary.end_seconds == 2
    assert reading.summary.stats.num_frames == 5  # the others were not decoded


def test_keyframes_of_open_gops_are_sampled(tmp_path: Path) -> None:
    options = {"preset": "veryfast", "x264-params": "open-gop=1:bframes=3:keyint=10:scenecut=0"}
    path = SyntheticVideo(count=60, gop=10, b_frames=3, options=options).write(
        tmp_path / "film.mp4"
    )
    assert read(path, sampling("keyframes")).numbers == [0, 10, 20, 30, 40, 50]


def test_chunks_are_cut_on_the_grid(tmp_path: Path) -> None:
    path = SyntheticVideo(count=100).write(tmp_path / "film.mp4")
    reading = read(path, sampling(fps=10), chunk_size=16)
    assert [(c.first_index, c.stop_index, len(c.times)) for c in reading.chunks] == [
        (0, 16, 16),
        (16, 32, 16),
        (32, 48, 8),
    ]
    whole = read(path, sampling(fps=10), chunk_size=64)
    assert np.array_equal(reading.frames, whole.frames)
    assert sum((c.stats.num_frames for c in reading.chunks), 0) <= 100


def test_a_stop_index_does_not_change_earlier_tokens(tmp_path: Path) -> None:
    path = SyntheticVideo(count=100).write(tmp_path / "film.mp4")
    whole, part = read(path, sampling(fps=10)), read(path, sampling(fps=10), stop_index=11)
    assert part.indices == list(range(11))
    assert part.ends == whole.ends[:11]
    assert not part.summary.reached_end
    assert part.summary.problems == ()


@pytest.mark.parametrize("kind", ["stride", "all", "uniform"])
def test_a_span_is_sampled_from_its_start(tmp_path: Path, kind: str) -> None:
    path = SyntheticVideo(count=100).write(tmp_path / "film.mp4")
    span = TimeRange(Fraction(1, 2), Fraction(3, 2))
    reading = read(path, sampling(kind, stride=5, num_frames=4), span=span)
    first, stop = 13, 38  # frames at 0.52 to 1.48 s
    wanted = {
        "stride": list(range(first, stop, 5)),
        "all": list(range(first, stop)),
        "uniform": [13, 21, 29, 37],
    }
    assert reading.numbers == wanted[kind]
    assert reading.indices == list(range(len(wanted[kind])))
    assert reading.ends[-1] <= 1.52


def test_index_range_of_a_rate_covers_its_grid_points() -> None:
    config = sampling(fps=2)
    assert index_range(config, TimeRange()) == (0, None)
    assert index_range(config, TimeRange(Fraction(1), Fraction(3))) == (2, 6)
    assert index_range(config, TimeRange(Fraction(11, 10), Fraction(29, 10))) == (3, 6)
    # A range between two grid points has the token displayed there.
    assert index_range(config, TimeRange(Fraction(11, 10), Fraction(12, 10))) == (2, 3)
    assert index_range(sampling("all"), TimeRange(Fraction(1), Fraction(3))) == (0, None)


def test_estimates_come_from_the_header(videos: dict[str, Path]) -> None:
    info = probe(videos["constant"])
    estimates = {kind: estimate_num_tokens(info, config) for kind, config in KINDS.items()}
    for kind, config in KINDS.items():
        assert estimates[kind] == len(expected(VIDEOS["constant"], config)[0]), kind
    assert estimate_num_tokens(info, sampling("keyframes")) is None
    half = TimeRange(Fraction(1), Fraction(2))
    assert estimate_num_tokens(info, sampling(fps=5), half) == 5
    assert estimate_num_tokens(info, sampling("all"), half) == 25


def test_nothing_is_sampled_before_the_first_frame(tmp_path: Path) -> None:
    """Audio starts at 0 s and video at 1 s, so no frame is displayed at the first points."""
    path = SyntheticVideo(times=[1 + k / 25 for k in range(50)], audio_seconds=3).write(
        tmp_path / "late.mkv"
    )
    reading: Reading = read(path, sampling(fps=5))
    assert reading.info.start_seconds == 0
    assert reading.indices == list(range(5, 15))
    assert reading.numbers[:2] == [0, 5]
    assert reading.summary.problems == ()
