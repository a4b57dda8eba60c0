"""The decode benchmark on a small video: fewer frames decoded, and differences detected."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import decode
from tests.synth import SyntheticVideo


def test_fewer_frames_are_decoded_with_equal_results(tmp_path: Path) -> None:
    video = SyntheticVideo(count=200, gop=25, b_frames=3).write(tmp_path / "film.mp4")
    decode.main([str(video), "--runs", "1", "--sparse", "1/4", "--save", str(tmp_path)])
    (saved,) = tmp_path.glob("decode_*.json")
    tables = json.loads(saved.read_text())["tables"]
    assert [table["title"] for table in tables] == [
        "film.mp4 at 2 frames/s",
        "film.mp4 at 1/4 frames/s",
    ]
    for table in tables:
        plain, needed, _ = table["rows"]
        assert plain[1] == needed[1] > 0
        assert needed[2] < plain[2] == 200


def test_methods_that_differ_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = SyntheticVideo(count=50, gop=25).write(tmp_path / "film.mp4")
    monkeypatch.setattr(decode, "contents", lambda video, fps, way: way.name)
    with pytest.raises(SystemExit, match="different frames"):
        decode.main([str(video), "--runs", "1"])
