"""Thumbnails show their segments, are small JPEGs, and limit the number of decoded frames."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.synth import SyntheticVideo, quadrants, read
from vtnstream.errors import VideoOpenError
from vtnstream.types import Thumbnail
from vtnstream.video import thumbnails as module
from vtnstream.video.thumbnails import thumbnails

TURNED = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)


def picture(thumbnail: Thumbnail | None) -> np.ndarray:
    """Decode a JPEG with another decoder."""
    assert thumbnail is not None and thumbnail.jpeg[:2] == b"\xff\xd8"
    with av.open(io.BytesIO(thumbnail.jpeg), format="mjpeg") as file:
        return next(file.decode(video=0)).to_ndarray(format="rgb24")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("gop", [5, 500])
def test_each_thumbnail_shows_a_frame_of_its_span(suffix: str, gop: int, tmp_path: Path) -> None:
    codec = {"codec": "libvpx", "options": {"cpu-used": "8"}} if suffix == ".webm" else {}
    video = SyntheticVideo(count=200, gop=gop, b_frames=0 if codec else 2, **codec)
    path = video.write(tmp_path / f"film{suffix}")
    edges = [0, 1, 30, 31, 90, 199, 200]
    spans = [(a / 25, b / 25) for a, b in pairwise(edges)]
    found = thumbnails(path, spans)
    for thumbnail, (first, stop) in zip(found, pairwise(edges), strict=True):
        number = read(picture(thumbnail))
        assert first <= number < stop
        assert thumbnail is not None and round(thumbnail.seconds * 25) == number


def test_thumbnails_are_upright_and_keep_the_aspect_ratio(tmp_path: Path) -> None:
    video = SyntheticVideo(count=25, draw=lambda k, w, h: quadrants(w, h), matrix=TURNED)
    (thumbnail,) = thumbnails(video.write(tmp_path / "film.mp4"), [(0.0, 1.0)])
    shown = picture(thumbnail)
    assert shown.shape == (160, 120, 3)
    upright = np.rot90(quadrants(160, 120), -1)
    assert np.abs(shown.astype(int) - upright).mean() < 6
    assert thumbnail is not None and len(thumbnail.jpeg) < 6000


def test_the_number_of_decoded_frames_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = SyntheticVideo(count=250, gop=25).write(tmp_path / "film.mp4")
    spans = [(k, k + 1.0 + k / 100) for k in range(9)]
    monkeypatch.setattr(module, "MAX_THUMBNAILS", 3)
    found = thumbnails(path, spans)
    assert [k for k, one in enumerate(found) if one] == [6, 7, 8]
    monkeypatch.setattr(module, "MAX_THUMBNAILS", 200)
    monkeypatch.setattr(module, "MAX_PICTURES", 4)
    assert 1 <= sum(one is not None for one in thumbnails(path, spans)) <= 4


def test_spans_without_frames_have_no_thumbnail(tmp_path: Path) -> None:
    path = SyntheticVideo(count=50).write(tmp_path / "film.mp4")
    assert thumbnails(path, [(50.0, 60.0), (0.5, 0.5), (0.501, 0.502)]) == (None, None, None)
    assert thumbnails(path, []) == ()
    stream = SyntheticVideo(count=50).write(tmp_path / "film.ts")
    assert thumbnails(stream, [(0.0, 2.0)]) == (None,)
    with pytest.raises(VideoOpenError):
        thumbnails(tmp_path / "absent.mp4", [(0.0, 1.0)])


def test_damage_only_loses_single_thumbnails(tmp_path: Path) -> None:
    video = SyntheticVideo(count=200, gop=10, broken=range(50, 80))
    found = thumbnails(video.write(tmp_path / "film.mkv"), [(k, k + 1.0) for k in range(8)])
    assert sum(one is not None for one in found) >= 6
    times = [(k, one.seconds) for k, one in enumerate(found) if one]
    assert all(k <= Fraction(seconds) < k + 1 for k, seconds in times)
