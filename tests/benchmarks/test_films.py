"""Generated videos have their documented properties."""

from __future__ import annotations

from pathlib import Path

import av
from av.video.frame import PictureType

from benchmarks.films import block_film, camera_film, films_directory, repeat_film
from vtnstream.video.probe import probe


def test_the_camera_video_has_unreferenced_frames(tmp_path: Path) -> None:
    path = camera_film(films_directory(tmp_path / "new"), 2, 320, 180)
    info = probe(path)
    assert (info.width, info.height, info.num_frames_from_header) == (320, 180, 50)
    with av.open(str(path)) as film:
        kinds = [PictureType(frame.pict_type).name for frame in film.decode(video=0)]
    assert kinds.count("B") > 25 and kinds.count("I") <= 3
    changed = path.stat().st_mtime_ns
    assert camera_film(tmp_path / "new", 2, 320, 180).stat().st_mtime_ns == changed


def test_a_repeated_film_is_the_same_frames_at_later_times(tmp_path: Path) -> None:
    source = camera_film(tmp_path, 1, 64, 48)
    path = repeat_film(source, tmp_path / "long.mp4", 3)
    assert probe(path).duration_from_header == 3
    with av.open(str(source)) as film:
        once = [frame.to_ndarray(format="rgb24").tobytes() for frame in film.decode(video=0)]
    with av.open(str(path)) as film:
        frames = list(film.decode(video=0))
    assert [frame.to_ndarray(format="rgb24").tobytes() for frame in frames] == once * 3
    assert [round(frame.time * 25) for frame in frames] == list(range(75))


def test_block_film_has_its_length(tmp_path: Path) -> None:
    assert probe(block_film(tmp_path, 180)).duration_from_header == 180
