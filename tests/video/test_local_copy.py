"""Playlists whose initialisation section changes are joined to one video."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import pytest

from tests.synth import SyntheticVideo, read
from tests.video import reading
from vtnstream.errors import VideoOpenError
from vtnstream.video.local_copy import join_runs


def test_runs_of_different_sizes_are_joined(tmp_path: Path) -> None:
    fragmented = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    parts = [
        SyntheticVideo(count=50, b_frames=2, muxer=fragmented).write(tmp_path / "a.mp4"),
        SyntheticVideo(count=30, size=(64, 48), muxer=fragmented).write(tmp_path / "b.mp4"),
    ]
    join_runs(parts, tmp_path / "joined")
    with av.open(str(tmp_path / "joined")) as container:
        frames = [
            (
                float(f.time) - container.start_time / 1e6,
                f.width,
                read(f.to_ndarray(format="rgb24")),
            )
            for f in container.decode(video=0)
        ]
    assert [n for _, _, n in frames] == [*range(50), *range(30)]
    assert [w for _, w, _ in frames] == [128] * 50 + [64] * 30
    assert [t for t, _, _ in frames] == pytest.approx([k / 25 for k in range(80)], abs=2e-3)


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libsvtav1", "mpeg4"])
def test_other_codecs_are_joined(tmp_path: Path, codec: str) -> None:
    options = {"libvpx-vp9": {"cpu-used": "8"}, "libsvtav1": {"preset": "12"}}.get(codec, {})
    video = SyntheticVideo(count=15, codec=codec, options=options, ticks=1000)
    parts = [
        replace(video, size=(width, 48)).write(tmp_path / f"{width}.mp4") for width in (64, 128)
    ]
    joined = tmp_path / "joined"
    join_runs(parts, joined)
    found = reading.read(joined, reading.sampling("all"))
    assert found.numbers == [*range(15)] * 2
    assert found.starts == pytest.approx([k / 25 for k in range(30)], abs=2e-3)


def test_a_part_that_reorders_more_frames_follows(tmp_path: Path) -> None:
    parts = [SyntheticVideo(count=20, b_frames=n).write(tmp_path / f"{n}.mp4") for n in (0, 3)]
    join_runs(parts, tmp_path / "joined")
    found = reading.read(tmp_path / "joined", reading.sampling("all"))
    assert found.numbers == [*range(20)] * 2
    assert found.starts == pytest.approx([k / 25 for k in range(40)], abs=2e-3)


def test_what_cannot_be_joined_is_refused(tmp_path: Path) -> None:
    first = SyntheticVideo(count=5).write(tmp_path / "a.mp4")
    second = SyntheticVideo(count=5, codec="mpeg4", options={}, ticks=1000).write(
        tmp_path / "b.mp4"
    )
    with pytest.raises(VideoOpenError, match="its codec changes from h264 to mpeg4: give"):
        join_runs([first, second], tmp_path / "joined")
    fixed = SyntheticVideo(count=5, codec="ffv1", options={}).write(tmp_path / "c.mkv")
    with pytest.raises(VideoOpenError, match="changes its initialisation, which ffv1"):
        join_runs([fixed, fixed], tmp_path / "joined")
