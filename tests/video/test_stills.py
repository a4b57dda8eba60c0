"""Frames at given times, identified by the numbers drawn on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.synth import SyntheticVideo, read
from vtnstream.errors import VideoOpenError
from vtnstream.video.stills import stills


@pytest.mark.parametrize("options", [{}, {"g": "300", "bf": "3"}])
def test_the_displayed_frame_is_returned(tmp_path: Path, options: dict[str, str]) -> None:
    path = SyntheticVideo(count=200, rate=10, options=options).write(tmp_path / "film.mp4")
    times = [0.0, 0.05, 3.33, 12.0, 7.7, 19.95]
    pictures = stills(path, times, height=48)
    assert [read(p) for p in pictures if p is not None] == [0, 0, 33, 120, 77, 199]
    assert {p.shape for p in pictures if p is not None} == {(48, 64, 3)}


def test_without_a_displayed_frame_the_result_is_none(tmp_path: Path) -> None:
    path = SyntheticVideo(count=20, rate=10).write(tmp_path / "film.mp4")
    first, behind = stills(path, [0.5, 100.0], height=32)
    assert first is not None
    assert behind is None


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VideoOpenError):
        stills(tmp_path / "none.mp4", [1.0], height=32)
