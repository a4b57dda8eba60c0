"""Damage is skipped and counted; the remaining result is correct and marked as partial."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.synth import SyntheticVideo, truncated
from tests.video.reading import read, sampling
from vtnstream.errors import VideoDecodeError, VideoError

BROKEN = range(60, 100)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_broken_packets_are_counted_and_skipped(tmp_path: Path, suffix: str, codec: str) -> None:
    options = {"preset": "ultrafast", "crf": "18"} if codec == "libx264" else {}
    video = SyntheticVideo(count=200, codec=codec, options=options, gop=25, broken=BROKEN, ticks=25)
    reading = read(video.write(tmp_path / f"film.{suffix}"), sampling(fps=5))
    stats = reading.summary.stats
    assert stats.num_packet_errors + stats.num_corrupt > 0
    assert reading.summary.problems
    assert reading.summary.reached_end
    shown = reading.shown()
    intact = [k for k in shown if 5 * k < 50 or 5 * k >= 125]
    assert len(intact) == 10 + 15
    assert all(shown[k] == 5 * k for k in intact)
    # The chunk with the damage reports it.
    assert sum(c.stats.num_packet_errors + c.stats.num_corrupt for c in reading.chunks) > 0


def test_damaged_videos_are_decoded_deterministically(tmp_path: Path) -> None:
    path = SyntheticVideo(count=100, b_frames=2, broken=range(30, 60)).write(tmp_path / "film.mp4")
    first = read(path, sampling("all"))
    for _ in range(3):
        again = read(path, sampling("all"))
        assert np.array_equal(first.frames, again.frames)
        assert first.summary == again.summary


def test_lost_frames_leave_a_gap(tmp_path: Path) -> None:
    """A third of the file is zeros."""
    path = SyntheticVideo(count=200, gop=12).write(tmp_path / "film.mkv")
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : 2 * third] = bytes(third)
    path.write_bytes(data)
    reading = read(path)
    assert any("no frames from" in problem for problem in reading.summary.problems)
    shown = reading.shown()
    assert set(range(16)) - set(shown)
    assert all(abs(number - 12.5 * k) <= 26 for k, number in shown.items())


@pytest.mark.parametrize("suffix", ["mkv", "flv"])
def test_a_cut_file_is_partial(tmp_path: Path, suffix: str) -> None:
    whole = SyntheticVideo(count=250, audio_seconds=10).write(tmp_path / f"whole.{suffix}")
    reading = read(truncated(whole, 0.6, tmp_path / f"cut.{suffix}"))
    assert any("by its header" in problem for problem in reading.summary.problems)
    assert reading.summary.reached_end
    # Audio has priming samples, so the video starts some milliseconds after it.
    assert all(abs(number - 12.5 * k) <= 2 for k, number in reading.shown().items())


def test_an_mp4_without_its_index_is_one_error_line(tmp_path: Path) -> None:
    whole = SyntheticVideo(count=250).write(tmp_path / "whole.mp4")
    with pytest.raises(VideoError, match="copy it again"):
        read(truncated(whole, 0.5, tmp_path / "cut.mp4"))


@pytest.mark.parametrize("seconds", [1, 5])
def test_audio_of_another_length_is_no_damage(tmp_path: Path, seconds: float) -> None:
    for suffix in ("mp4", "mkv", "ts", "flv"):
        path = SyntheticVideo(audio_seconds=seconds).write(tmp_path / f"film.{suffix}")
        assert read(path).summary.problems == ()


def test_a_video_without_decodable_frames_is_an_error(tmp_path: Path) -> None:
    path = SyntheticVideo(
        count=60, gop=1, broken=range(60), codec="mjpeg", options={}, pix_fmt="yuvj420p"
    )
    data = bytearray(path.write(tmp_path / "film.mkv").read_bytes())
    data = data.replace(b"\xff\xd8\xff", b"\x00\x00\x00")
    (tmp_path / "film.mkv").write_bytes(data)
    with pytest.raises(VideoDecodeError, match="no frame could be decoded"):
        read(tmp_path / "film.mkv")


def test_an_encrypted_video_is_an_error(tmp_path: Path) -> None:
    plain = SyntheticVideo(count=60).write(tmp_path / "plain.mp4")
    secret = tmp_path / "secret.mp4"
    key = "76a6c65c5ea762046bd749a2e632ccbb"
    command = ["ffmpeg", "-v", "error", "-i", str(plain), "-c", "copy", "-encryption_scheme"]
    command += ["cenc-aes-ctr", "-encryption_key", key, "-encryption_kid", key, str(secret)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        assert os.environ.get("CI") != "true", "ffmpeg is missing: .ci/run installs it"
        pytest.skip("no ffmpeg that encrypts")
    with pytest.raises(VideoDecodeError, match="encrypted"):
        read(secret)


def test_random_damage_gives_a_result_or_a_known_error(tmp_path: Path) -> None:
    """Random damage gives a result or an error of this package."""
    draw = random.Random(5)
    videos = [
        SyntheticVideo(count=40, b_frames=2, audio_seconds=1).write(tmp_path / f"film.{suffix}")
        for suffix in ("mp4", "mkv", "ts", "avi", "flv")
    ]
    outcomes = set()
    for number in range(40):
        data = bytearray(videos[number % len(videos)].read_bytes())
        for _ in range(draw.choice([1, 10, 300])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path = tmp_path / "damaged"
        path.write_bytes(data[: draw.randrange(len(data) // 2, len(data) + 1)])
        try:
            outcomes.add(bool(read(path, sampling(fps=8)).summary.problems))
        except VideoError as error:
            assert "\n" not in str(error)
            outcomes.add("error")
    assert True in outcomes
