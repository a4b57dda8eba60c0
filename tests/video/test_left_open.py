"""A video that was left open when it was examined is read as one that is opened again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.synth import SyntheticVideo, truncated, whole
from tests.video.reading import sampling
from vtnstream.config import SamplingConfig
from vtnstream.errors import VideoError
from vtnstream.types import TokenTimes
from vtnstream.video.container import OpenedVideo
from vtnstream.video.probe import examine
from vtnstream.video.source import open_video

VIDEOS = {
    "film.mp4": SyntheticVideo(count=60, gop=25, b_frames=3, audio_seconds=2.4),
    "film.mkv": SyntheticVideo(count=60, gop=25, b_frames=2, audio_seconds=2.4),
    "film.ts": SyntheticVideo(count=60, gop=25, b_frames=2, audio_seconds=3),
    "film.avi": SyntheticVideo(count=60, gop=25, codec="mpeg4", options={}, ticks=25),
    "film.webm": SyntheticVideo(
        count=60, gop=25, codec="libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}
    ),
    "film.h264": SyntheticVideo(count=60, gop=25, b_frames=2),
    "long.flv": SyntheticVideo(count=60, gop=25, audio_seconds=5),
    "broken.mp4": SyntheticVideo(count=60, gop=25, b_frames=3, broken=range(30, 40)),
    "broken at once.mp4": SyntheticVideo(count=60, gop=25, b_frames=3, broken=range(1, 4)),
}
SAMPLINGS = (
    sampling(),
    sampling(fps=25),
    sampling("all"),
    sampling("uniform", num_frames=5),
    sampling("stride", stride=4),
    sampling("keyframes"),
)


def result(path: Path, config: SamplingConfig, *, leave_open: bool, **options: Any) -> list[Any]:
    """All that a pass says of a video, or the error that ends it."""
    found: list[Any] = []
    try:
        examined = examine(path, leave_open=leave_open)
        found += [examined.info, examined.facts]
        with open_video(path, config, fit=whole(32), examined=examined, **options) as source:
            for chunk in source.chunks():
                times: TokenTimes = chunk.times
                found.append([chunk.first_index, chunk.stop_index, chunk.stats])
                found.append([chunk.frames.tobytes(), times.indices.tobytes(), times.pts.tobytes()])
                found.append([times.start_seconds.tobytes(), times.end_seconds.tobytes()])
            found.append(source.summary)
        examined.close()
    except VideoError as error:
        found.append(repr(error))
    return found


@pytest.fixture
def continued(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the videos that a pass continued."""
    names: list[str] = []
    decode = OpenedVideo.decode

    def noted(video: OpenedVideo, packet: Any) -> list[Any]:
        if video.decoded_before:
            names.append(Path(video.path).name)
        return decode(video, packet)

    monkeypatch.setattr(OpenedVideo, "decode", noted)
    return names


@pytest.mark.parametrize("name", VIDEOS)
def test_frames_times_and_warnings_are_the_same(
    name: str, tmp_path: Path, continued: list[str]
) -> None:
    path = VIDEOS[name].write(tmp_path / name)
    # Then the reader also reads audio, which may decide where the video ends.
    reads_audio = examine(path).facts.end_may_be_of_audio
    assert reads_audio == (name == "long.flv")
    for config in SAMPLINGS:
        for skip in (True, False):
            again = result(path, config, leave_open=False, skip=skip)
            assert not continued
            assert result(path, config, leave_open=True, skip=skip) == again
            assert bool(continued) is (config.kind != "keyframes" and not reads_audio)
            continued.clear()


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "film.avi", "film.webm"])
def test_damaged_videos_are_read_the_same(name: str, tmp_path: Path, continued: list[str]) -> None:
    sound = VIDEOS[name].write(tmp_path / name)
    damaged = tmp_path / f"damaged {name}"
    data = sound.read_bytes()
    random_ = random.Random(name)
    for number in range(25):
        changed = bytearray(data)
        for _ in range(1 + number % 8):
            changed[random_.randrange(len(data))] ^= 1 << random_.randrange(8)
        damaged.write_bytes(changed)
        config = SAMPLINGS[number % 3]
        expected = result(damaged, config, leave_open=False)
        assert result(damaged, config, leave_open=True) == expected
    cut = truncated(sound, 0.7, damaged)
    expected = result(cut, sampling("all"), leave_open=False)
    assert result(cut, sampling("all"), leave_open=True) == expected
    assert continued


def test_where_a_pass_begins_otherwise_the_video_is_opened_again(
    tmp_path: Path, continued: list[str]
) -> None:
    path = SyntheticVideo(count=200, gop=25).write(tmp_path / "film.mp4")
    for options in (
        {"decoders": 2},
        {"first_index": 64, "chunk_size": 8},
        {"config": sampling("keyframes")},
    ):
        config = options.pop("config", sampling(fps=20))
        examined = examine(path, leave_open=True)
        assert examined.begun is not None
        with open_video(path, config, fit=whole(32), examined=examined, **options) as source:
            frames = np.concatenate([chunk.frames for chunk in source.chunks()])
        assert len(frames) and not continued
        assert examined.begun.take() is None  # it was closed
    again = examine(path, leave_open=True)
    again.close()
    again.close()


def test_two_passes_over_one_examined_video(tmp_path: Path, continued: list[str]) -> None:
    """The second pass opens the file again."""
    path = VIDEOS["film.mp4"].write(tmp_path / "film.mp4")
    examined = examine(path, leave_open=True)
    with open_video(path, sampling(fps=5), fit=whole(32), examined=examined) as source:
        first = [chunk.frames for chunk in source.chunks()]
        assert continued
        count = len(continued)
        second = [chunk.frames for chunk in source.chunks()]
        assert len(continued) == count
    np.testing.assert_array_equal(np.concatenate(first), np.concatenate(second))
