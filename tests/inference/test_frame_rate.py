"""Rates found on real files; the number of a picture is the number painted on it."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.synth import Film, read
from tests.video.reading import read as read_video
from tests.video.reading import sampling
from vtnstream.inference.frame_rate import constant_frame_rate
from vtnstream.report.timebase import Timebase
from vtnstream.types import Report, TokenTimes, VideoInfo
from vtnstream.video.probe import probe

NTSC = Fraction(1000, 1001)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("rate", [24 * NTSC, Fraction(25), 30 * NTSC, Fraction(10), 60 * NTSC])
def test_constant_rates_and_the_numbers_of_pictures(
    rate: Fraction, suffix: str, tmp_path: Path
) -> None:
    ticks = 90_000 if suffix == ".ts" else rate.numerator
    film = Film(count=120, rate=rate, ticks=ticks, b_frames=2, audio_seconds=4.0)
    path = film.write(tmp_path / f"film{suffix}")
    result = read_video(path, sampling("all"))
    info = probe(path)
    assert constant_frame_rate(result.times, info) == rate
    base = Timebase.of(Report(str(path), info, {}, frame_rate=rate))
    assert base is not None
    painted = [read(frame) for frame in result.frames]
    assert painted == list(range(120))
    assert [base.frame(float(t)) for t in result.times.start_seconds] == painted


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_variable_rates_are_found_out(suffix: str, tmp_path: Path) -> None:
    times = [Fraction(k, 30) for k in range(60)] + [2 + Fraction(k, 17) for k in range(60)]
    path = Film(count=120, times=times, rate=30).write(tmp_path / f"film{suffix}")
    result = read_video(path, sampling("all"))
    assert constant_frame_rate(result.times, probe(path)) is None


def test_a_missing_picture_on_the_grid_is_found_out_where_the_file_counts(tmp_path: Path) -> None:
    times = [Fraction(k, 30) for k in range(200) if k not in (90, 91, 92)]
    path = Film(count=197, times=times, rate=30).write(tmp_path / "film.mp4")
    result = read_video(path, sampling("all"))
    assert constant_frame_rate(result.times, probe(path)) is None


def test_two_pictures_prove_nothing(tmp_path: Path) -> None:
    path = Film(count=50).write(tmp_path / "film.mp4")
    times = read_video(path, sampling("all")).times
    info: VideoInfo = probe(path)
    assert constant_frame_rate(times[:2], info) is None
    assert constant_frame_rate(times, dataclasses.replace(info, average_rate=None)) is None
    assert constant_frame_rate(TokenTimes.empty(), info) is None


def test_sound_that_begins_earlier_and_cameras_timecode(tmp_path: Path) -> None:
    late = Film(count=50, start=Fraction(13, 100), audio_seconds=2.0)
    info = probe(late.write(tmp_path / "late.mkv"))
    assert info.start_seconds == 0
    assert info.first_frame_seconds == Fraction(13, 100)
    path = Film(count=50, rate=30 * NTSC, ticks=30_000).write(tmp_path / "camera.mov")
    assert probe(path).start_timecode is None
    assert np.isclose(float(probe(path).first_frame_seconds), 0)
