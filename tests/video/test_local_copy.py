"""Playlists whose initialisation section changes are joined to one video."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from tests.synth import SyntheticVideo, read
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


def test_codecs_with_fixed_parameters_are_refused(tmp_path: Path) -> None:
    video = SyntheticVideo(count=5, codec="libvpx-vp9", options={}).write(tmp_path / "a.webm")
    with pytest.raises(VideoOpenError, match="changes its initialisation, which vp9"):
        join_runs([video, video], tmp_path / "joined")
