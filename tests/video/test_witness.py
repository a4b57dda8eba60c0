"""Frames and their times are compared with those of ffmpeg."""

from __future__ import annotations

import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.synth import SyntheticVideo, quadrants
from tests.video.reading import read, sampling

SIZE = 32


@pytest.fixture(autouse=True)
def witness() -> None:
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        assert os.environ.get("CI") != "true", "ffmpeg is missing: .ci/run installs it"
        pytest.skip("needs ffmpeg")


def frame_times(path: Path) -> list[float]:
    """Return the player times of all frames by ffprobe."""

    def ask(*entries: str) -> list[str]:
        command = ["ffprobe", "-v", "error", "-of", "csv=p=0", *entries, str(path)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return [line.strip(",") for line in answer.split()]

    start = float(ask("-show_entries", "format=start_time")[0])
    shown = ask("-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time")
    return [float(time) - start for time in shown]


def pictures(path: Path) -> np.ndarray:
    """Return all frames by ffmpeg, upright and squashed: (T, SIZE, SIZE, 3) uint8."""
    scale = f"scale={SIZE}:{SIZE}:flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-fps_mode", "passthrough"]
    command += ["-vf", scale, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(raw, np.uint8).reshape(-1, SIZE, SIZE, 3)


TURNED = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
UNEVEN = [Fraction(k * k, 50) + Fraction(k, 20) for k in range(30)]
VIDEOS = {
    "constant.mp4": SyntheticVideo(count=40),
    "b-frames.mp4": SyntheticVideo(count=40, b_frames=2),
    "b-frames.ts": SyntheticVideo(count=40, b_frames=2),
    "uneven.mkv": SyntheticVideo(count=30, times=UNEVEN),
    "uneven.mp4": SyntheticVideo(count=30, times=UNEVEN, b_frames=2),
    "late.mp4": SyntheticVideo(count=40, start=10, audio_seconds=2),
    "turned.mp4": SyntheticVideo(count=5, matrix=TURNED, draw=lambda k, w, h: quadrants(w, h)),
    "wide.mp4": SyntheticVideo(
        count=5, aspect=Fraction(3, 2), draw=lambda k, w, h: quadrants(w, h)
    ),
    "odd.mkv": SyntheticVideo(count=5, size=(127, 95), codec="ffv1", options={}, pix_fmt="yuv444p"),
    "ten-bit.mkv": SyntheticVideo(count=5, codec="ffv1", options={}, pix_fmt="yuv420p10le"),
    "motion.avi": SyntheticVideo(count=20, codec="mjpeg", options={}, pix_fmt="yuvj420p"),
}


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_and_times_equal_those_of_ffmpeg(tmp_path: Path, name: str) -> None:
    path = VIDEOS[name].write(tmp_path / name)
    reading = read(path, sampling("all"))  # squashed to SIZE x SIZE, its default
    np.testing.assert_allclose(reading.times.start_seconds, frame_times(path), atol=2e-6)
    theirs = pictures(path)
    assert theirs.shape == reading.frames.shape
    difference = np.abs(theirs.astype(int) - reading.frames)
    assert difference.mean() < 1.0
    assert difference.max() <= 12  # versions of libswscale round differently at edges
