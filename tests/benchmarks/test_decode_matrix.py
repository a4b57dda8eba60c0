"""The decoding matrix: what its contenders read, and what its table says of their times."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from benchmarks.children import Failure, Median
from benchmarks.common import Result
from benchmarks.decode_matrix import (
    ENCODERS,
    FFMPEG,
    OURS,
    SECONDS,
    SUFFIXES,
    TORCHCODEC,
    Cell,
    FfmpegDecoder,
    OurDecoder,
    report,
)
from tests.synth import SyntheticVideo


def median(wall: float) -> Median:
    return Median(wall=wall, cpu=2 * wall, added=0, values=[80])


def test_contenders_read_the_sampled_frames(tmp_path: Path) -> None:
    path = SyntheticVideo(count=60, gop=25).write(tmp_path / "film.mp4")
    ours = OurDecoder(2, 64, 48, "2")
    ours.load(str(path))
    assert ours.decode(str(path)) == 5
    if shutil.which("ffmpeg"):
        FfmpegDecoder(2, 64, 48, "2").decode(str(path))


def test_every_codec_has_a_suffix_and_every_height_a_length() -> None:
    assert ENCODERS.keys() == SUFFIXES.keys()
    assert all(seconds >= 10 for seconds in SECONDS.values())


def test_cells_are_held_against_the_faster_peer() -> None:
    result = Result("decode_matrix", machine={}, date="today")
    torchcodec = {f"{TORCHCODEC}, 1": median(4), f"{TORCHCODEC}, 2": median(3)}
    fast = {OURS: median(1), FFMPEG: median(2), **torchcodec}
    slow = {OURS: median(3), FFMPEG: Failure("no ffmpeg"), **torchcodec}
    slower = {OURS: median(4), FFMPEG: median(9), **torchcodec}
    cells = (Cell("h264", 360, "2"), Cell("av1", 360, "2"), Cell("vp9", 720, "30"))
    report(result, dict(zip(cells, (fast, slow, slower), strict=True)))
    first, second, third = json.loads(json.dumps(result.data()))["tables"][0]["rows"]
    assert first == ["h264", 360, "2", 80, 1, 2, 3, 2.0, 2, 4, 6]
    assert second == ["av1", 360, "2", 80, 3, None, 3, 1.0, 6, None, 6]
    assert third[7] == 0.75
    (target,) = result.targets
    assert target.measured == 0.75 and "vp9 720p at 30/s" in target.what
    assert result.notes == ["slower by more than 10 %: vp9 720p at 30/s"]


def test_a_cell_that_cannot_be_read_fails_the_benchmark() -> None:
    result = Result("decode_matrix", machine={}, date="today")
    report(result, {Cell("av1", 360, "2"): {OURS: Failure("broken"), FFMPEG: median(1)}})
    assert result.broken == ["av1 360p at 2/s: broken"]
