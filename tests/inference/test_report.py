"""Frame rates of real files; the number of a frame is painted on it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hypothesis_profile import settings
from tests.synth import SyntheticVideo, read
from tests.video.reading import read as read_video
from tests.video.reading import sampling
from vtnstream.inference.report import constant_frame_rate
from vtnstream.report.timebase import Timebase
from vtnstream.types import FrameIndex, Report
from vtnstream.video.decoding.frame_counter import FrameCounter
from vtnstream.video.probe import probe
from vtnstream.video.sampling.counting import count_frames, frames_up_to

NTSC = Fraction(1000, 1001)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("rate", [24 * NTSC, Fraction(25), 30 * NTSC, Fraction(10), 60 * NTSC])
def test_constant_rates_and_frame_numbers(rate: Fraction, suffix: str, tmp_path: Path) -> None:
    ticks = 90_000 if suffix == ".ts" else rate.numerator
    video = SyntheticVideo(count=120, rate=rate, ticks=ticks, b_frames=2, audio_seconds=4.0)
    path = video.write(tmp_path / f"film{suffix}")
    result = read_video(path, sampling("all"))
    info = probe(path)
    frames = frames_up_to(path, info, result.times, result.summary.frames)
    assert frames is not None and frames.count == 120 and frames.until is None
    assert constant_frame_rate(frames, info) == rate
    base = Timebase.of(Report(str(path), info, {}, frame_rate=rate, frames=frames))
    assert base is not None
    painted = [read(frame) for frame in result.frames]
    assert painted == list(range(120))
    assert [base.frame(float(t)) for t in result.times.start_seconds] == painted


def index_of(path: Path) -> FrameIndex:
    """Return frame numbers counted by the decoder and by the packets, which agree."""
    counted = index_by_decoder(path)
    assert counted == count_frames(path)
    return counted


def index_by_decoder(path: Path) -> FrameIndex:
    counted = read_video(path, sampling("all")).summary.frames
    assert counted is not None
    return counted


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_rates_are_detected(suffix: str, tmp_path: Path) -> None:
    times = [Fraction(k, 30) for k in range(60)] + [2 + Fraction(k, 17) for k in range(60)]
    path = SyntheticVideo(count=120, times=times, rate=30).write(tmp_path / f"film{suffix}")
    assert constant_frame_rate(index_of(path), probe(path)) is None


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_missing_frame_on_the_grid_is_detected(suffix: str, tmp_path: Path) -> None:
    times = [Fraction(k, 30) for k in range(200) if k not in (90, 91, 92)]
    path = SyntheticVideo(count=197, times=times, rate=30, b_frames=2).write(
        tmp_path / f"film{suffix}"
    )
    info, frames = probe(path), index_of(path)
    assert constant_frame_rate(frames, info) is None
    base = Timebase.of(Report(str(path), info, {}, frames=frames))
    assert base is not None and not base.constant
    assert [base.frame(float(t)) for t in times] == list(range(197))
    assert base.frame(float(times[-1] + Fraction(1, 30))) == 197
    assert base.frame(3.05) == 90  # in the hole: the frame that follows


def test_two_frames_do_not_determine_a_rate(tmp_path: Path) -> None:
    path = SyntheticVideo(count=2).write(tmp_path / "film.mp4")
    assert constant_frame_rate(index_of(path), probe(path)) is None
    assert constant_frame_rate(None, probe(path)) is None


def test_a_range_counts_from_the_beginning_of_the_video(tmp_path: Path) -> None:
    path = SyntheticVideo(count=300, rate=25, b_frames=2).write(tmp_path / "film.mp4")
    times = read_video(path, sampling("all")).times[100:120]
    frames = frames_up_to(path, probe(path), times)
    assert frames is not None and frames.until is not None and frames.count < 300
    assert frames.number(frames.runs[0].tick_of(100)) == 100


def test_frames_are_not_counted_if_some_were_skipped(tmp_path: Path) -> None:
    path = SyntheticVideo(count=100).write(tmp_path / "film.mp4")
    assert read_video(path, sampling("keyframes")).summary.frames is None
    late = SyntheticVideo(count=100, audio_seconds=4.0).write(tmp_path / "film.ts")
    assert count_frames(late) is None  # packets of a transport stream prove nothing
    assert index_by_decoder(late).count == 100


def test_with_a_jittery_rate_frames_at_segment_boundaries_are_kept() -> None:
    ticks = [100 * k + 13 * (k % 7) for k in range(9000)]
    frames = FrameCounter.of(ticks).index(whole=True)
    assert frames is not None and len(frames.runs) > 1000
    assert [frames.number(t) for t in ticks] == list(range(9000))
    small = frames.around([ticks[10], ticks[5000]])
    assert len(small.runs) <= 6 and small.count == 9000
    assert (small.number(ticks[10]), small.number(ticks[5000])) == (10, 5000)
    assert small.number(ticks[2000]) is None


@settings(max_examples=max(200, settings.default.max_examples))
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=60))
def test_every_frame_has_its_number_whatever_the_distances(steps: list[int]) -> None:
    ticks = [0]
    for step in steps:
        ticks.append(ticks[-1] + step)
    frames = FrameCounter.of(ticks).index(whole=True)
    assert frames is not None
    assert [frames.number(t) for t in ticks] == list(range(len(ticks)))
    assert frames.number(ticks[-1] + 10**6) == len(ticks)


def test_sound_that_begins_earlier_and_cameras_timecode(tmp_path: Path) -> None:
    late = SyntheticVideo(count=50, start=Fraction(13, 100), audio_seconds=2.0)
    info = probe(late.write(tmp_path / "late.mkv"))
    assert info.start_seconds == 0
    assert info.first_frame_seconds == Fraction(13, 100)
    path = SyntheticVideo(count=50, rate=30 * NTSC, ticks=30_000).write(tmp_path / "camera.mov")
    assert probe(path).start_timecode is None
    assert np.isclose(float(probe(path).first_frame_seconds), 0)
