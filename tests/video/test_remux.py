"""Copies with chapters have the same packets, and the same frames at the same player times."""

from __future__ import annotations

import os
import subprocess
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest

from tests.report.writers.test_chapters import chapters_in, ffprobe
from tests.synth import SyntheticVideo
from tests.video.reading import read, sampling
from vtnstream.errors import OutputError, VideoOpenError
from vtnstream.types import Chapter
from vtnstream.video.probe import probe
from vtnstream.video.remux import copy_with_chapters

NTSC = Fraction(30_000, 1001)
TURNED = (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)

VIDEOS = {
    "plain.mp4": SyntheticVideo(count=60, rate=NTSC, ticks=30_000, b_frames=2),
    "sound.mp4": SyntheticVideo(count=60, rate=NTSC, ticks=30_000, audio_seconds=2.0),
    "turned.mp4": SyntheticVideo(count=60, matrix=TURNED),
    "late.mkv": SyntheticVideo(count=60, start=Fraction(13, 100), audio_seconds=2.0),
    "stream.ts": SyntheticVideo(count=60, start=5, audio_seconds=2.0),
    "variable.mp4": SyntheticVideo(count=60, times=[Fraction(k * k, 90) for k in range(60)]),
}
FRAMES = (0, 17, 41)


@pytest.fixture(scope="module", params=sorted(VIDEOS))
def video(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return VIDEOS[request.param].write(tmp_path_factory.mktemp("films") / request.param)


def hashes(path: Path) -> list[str]:
    """Return a hash by ffmpeg of the packets of each video and audio stream."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v", "-map", "0:a?"]
    command += ["-bsf:v", "h264_mp4toannexb", "-c", "copy", "-f", "streamhash", "-hash", "md5", "-"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_frames_are_unchanged_and_chapters_begin_with_their_frames(
    video: Path, suffix: str, tmp_path: Path
) -> None:
    before = read(video, sampling("all"))
    starts = [Fraction(float(before.times.start_seconds[k])) for k in FRAMES]
    ends = [*starts[1:], Fraction(float(before.times.end_seconds[-1]))]
    titles = ("one", "zwei = 切", "three; #")
    chapters = [Chapter(*c) for c in zip(starts, ends, titles, strict=True)]
    copy = tmp_path / f"copy{suffix}"
    assert copy_with_chapters(video, copy, chapters) == ()
    after = read(copy, sampling("all"))
    assert after.numbers == before.numbers
    steps = before.times.start_seconds - before.times.start_seconds[0]
    later = after.times.start_seconds - steps
    assert later.max() - later.min() < 0.0011  # Matroska rounds to milliseconds
    found = chapters_in(copy)
    assert [title for *_, title in found] == list(titles)
    start = float(ffprobe(copy, "-show_entries", "format=start_time")["format"]["start_time"])
    for (time, *_), number in zip(found, FRAMES, strict=True):
        # The frame displayed at the chapter's time is that of the segment's first token.
        shown = after.times.start_seconds.searchsorted(float(time) - start + 1e-9, "right") - 1
        # In MP4 the first chapter begins with the file, even if that begins with audio.
        assert max(shown, 0) == number
    info, copied = probe(video), probe(copy)
    assert (copied.width, copied.height, copied.rotation) == (
        info.width,
        info.height,
        info.rotation,
    )
    assert copied.has_audio == info.has_audio
    if video.suffix == suffix:
        assert hashes(copy) == hashes(video)


def test_many_chapters_are_written(tmp_path: Path) -> None:
    video = SyntheticVideo(count=600, rate=10).write(tmp_path / "film.mp4")
    times = [Fraction(k, 10) for k in range(601)]
    chapters = [Chapter(a, b, f"{k}") for k, (a, b) in enumerate(pairwise(times))]
    for suffix in (".mkv", ".mp4"):
        copy_with_chapters(video, tmp_path / f"copy{suffix}", chapters)
        found = chapters_in(tmp_path / f"copy{suffix}")
        assert [(ceil(a * 1000), title) for a, _, title in found] == [
            (100 * k, str(k)) for k in range(600)
        ]


def test_metadata_is_kept_and_omitted_streams_are_named(tmp_path: Path) -> None:
    video = SyntheticVideo(count=25, cover=True, audio_seconds=1.0).write(tmp_path / "film.mp4")
    tagged = tmp_path / "tagged.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(video), "-map", "0", "-c", "copy"]
    subprocess.run(
        [*command, "-metadata:s:a:0", "language=deu", "-metadata", "title=Film", str(tagged)],
        check=True,
    )
    chapter = [Chapter(Fraction(0), Fraction(1), "a")]
    (sentence,) = copy_with_chapters(tagged, tmp_path / "copy.mkv", chapter)
    assert "cover picture" in sentence
    shown = ffprobe(tmp_path / "copy.mkv", "-show_streams", "-show_format")
    assert shown["format"]["tags"]["title"] == "Film"
    tags = {s["codec_type"]: s.get("tags", {}) for s in shown["streams"]}
    assert tags["audio"]["language"] == "deu" and len(shown["streams"]) == 2
    assert copy_with_chapters(tagged, tmp_path / "copy.mp4", chapter) == ()


def test_a_failed_copy_is_one_error_line_and_leaves_no_file(tmp_path: Path) -> None:
    video = SyntheticVideo(count=25).write(tmp_path / "film.mp4")
    (tmp_path / "there.mkv").write_bytes(b"precious")
    for target, words in (
        ("copy.avi", "chapters are kept in .mkv"),
        ("there.mkv", "exists already"),
        ("film.mp4", "exists already"),
        ("copy.webm", "the copy cannot be written"),
        ("absent/copy.mkv", "the copy cannot be written"),
    ):
        with pytest.raises(OutputError, match=words) as caught:
            copy_with_chapters(video, tmp_path / target, [])
        assert str(caught.value).startswith(str(tmp_path / target))
        assert "\n" not in str(caught.value)
    with pytest.raises(VideoOpenError):
        copy_with_chapters(tmp_path / "absent.mp4", tmp_path / "copy.mkv", [])
    assert sorted(os.listdir(tmp_path)) == ["film.mp4", "there.mkv"]
    assert (tmp_path / "there.mkv").read_bytes() == b"precious"
