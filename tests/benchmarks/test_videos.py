"""Generated videos have their documented properties."""

from __future__ import annotations

from pathlib import Path

import av
from av.video.frame import PictureType

from benchmarks.videos import block_video, camera_video, repeat_video, videos_directory
from vtnstream.video.probe import probe


def test_the_camera_video_has_unreferenced_frames(tmp_path: Path) -> None:
    path = camera_video(videos_directory(tmp_path / "new"), 2, 320, 180)
    info = probe(path)
    assert (info.width, info.height, info.num_frames_from_header) == (320, 180, 50)
    with av.open(str(path)) as video:
        kinds = [PictureType(frame.pict_type).name for frame in video.decode(video=0)]
    assert kinds.count("B") > 25 and kinds.count("I") <= 3
    changed = path.stat().st_mtime_ns
    assert camera_video(tmp_path / "new", 2, 320, 180).stat().st_mtime_ns == changed


def test_a_repeated_video_is_the_same_frames_at_later_times(tmp_path: Path) -> None:
    source = camera_video(tmp_path, 1, 64, 48)
    path = repeat_video(source, tmp_path / "long.mp4", 3)
    assert probe(path).duration_from_header == 3
    with av.open(str(source)) as video:
        once = [frame.to_ndarray(format="rgb24").tobytes() for frame in video.decode(video=0)]
    with av.open(str(path)) as video:
        frames = list(video.decode(video=0))
    assert [frame.to_ndarray(format="rgb24").tobytes() for frame in frames] == once * 3
    assert [round(frame.time * 25) for frame in frames] == list(range(75))


def test_block_video_has_its_length(tmp_path: Path) -> None:
    assert probe(block_video(tmp_path, 180)).duration_from_header == 180
