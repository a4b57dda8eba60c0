"""Cuts from all containers, codecs and kinds of groups have the correct frames, times and audio.

ffmpeg makes the sources from one video with numbered frames, and checks that the cuts are decoded
without an error.
"""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.synth import paint, read
from vtnstream.cli.clip_files import suffix_for
from vtnstream.errors import OutputError
from vtnstream.types import TimeRange
from vtnstream.video.cut import Cut, CuttingSession

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg makes the sources")

RATE, COUNT, SAMPLES = 25, 150, 48_000
PART = TimeRange(Fraction(1, 5), Fraction("4.48"))
WANTED = [*range(5, 112)]
BEEPS = [0.3, 1.3, 2.3, 3.3]
"""Audio begins half a second after each full second of the source."""

X264 = "-c:v libx264 -preset ultrafast -crf 16 -pix_fmt yuv420p"
X265 = "-c:v libx265 -preset ultrafast -crf 16 -pix_fmt yuv420p -tag:v hvc1"
MPEG2 = "-c:v mpeg2video -q:v 2 -g 25 -bf 2 -c:a mp2"
QUIET = "log-level=none"

SOURCES = {
    "mp4 h264": ("mp4", f"{X264} -g 25 -bf 2"),
    "mp4 h264 open": ("mp4", f"{X264} -bf 2 -x264-params open-gop=1:keyint=25:scenecut=0"),
    "mp4 h264 10 s": ("mp4", f"{X264} -g 250 -bf 3 -x264-params scenecut=0"),
    "mp4 h264 no b": ("mp4", f"{X264} -g 20 -bf 0"),
    "mp4 h264 full": ("mp4", f"{X264} -pix_fmt yuvj420p -color_range pc -g 25 -bf 2"),
    "mp4 h264 silent": ("mp4", f"{X264} -g 25 -bf 2 -an"),
    "mp4 h264 10 bit": ("mp4", f"{X264} -pix_fmt yuv420p10le -g 25 -bf 2"),
    "mp4 hevc": ("mp4", f"{X265} -x265-params keyint=25:scenecut=0:open-gop=0:{QUIET}"),
    "mp4 hevc open": ("mp4", f"{X265} -x265-params keyint=25:scenecut=0:open-gop=1:{QUIET}"),
    "mp4 hevc hdr": (
        "mp4",
        f"{X265} -pix_fmt yuv420p10le -color_primaries bt2020 -color_trc smpte2084 "
        f"-colorspace bt2020nc -x265-params keyint=25:open-gop=0:{QUIET}",
    ),
    "mov h264": ("mov", f"{X264} -g 25 -bf 2 -c:a pcm_s16le"),
    "mov prores": ("mov", "-c:v prores_ks -pix_fmt yuv422p10le -c:a pcm_s16le"),
    "mkv h264": ("mkv", f"{X264} -g 25 -bf 2"),
    "mkv h264 open": ("mkv", f"{X264} -bf 2 -x264-params open-gop=1:keyint=25:scenecut=0"),
    "mkv hevc": ("mkv", f"{X265} -x265-params keyint=25:open-gop=0:{QUIET}"),
    "mkv av1": ("mkv", "-c:v libaom-av1 -cpu-used 8 -crf 20 -g 25 -c:a libopus"),
    "webm vp9": ("webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 25 -c:a libopus"),
    "webm vp8": ("webm", "-c:v libvpx -deadline realtime -b:v 2M -g 25 -c:a libvorbis"),
    "ts h264": ("ts", f"{X264} -g 25 -bf 2"),
    "ts h264 open": ("ts", f"{X264} -bf 2 -x264-params open-gop=1:keyint=25:scenecut=0"),
    "ts hevc": ("ts", f"{X265} -x265-params keyint=25:open-gop=0:{QUIET}"),
    "ts mpeg2": ("ts", MPEG2),
    "m2ts h264": ("m2ts", f"{X264} -g 25 -bf 2 -c:a ac3"),
    "mpg mpeg2": ("mpg", MPEG2),
    "vob mpeg2": ("vob", MPEG2),
    "avi mpeg4": ("avi", "-c:v mpeg4 -q:v 2 -g 25 -bf 0 -c:a pcm_s16le"),
    "avi mpeg4 b": ("avi", "-c:v mpeg4 -q:v 2 -g 25 -bf 2 -c:a pcm_s16le"),
    "avi h264": ("avi", f"{X264} -g 25 -bf 0 -c:a pcm_s16le"),
    "flv h264": ("flv", f"{X264} -g 25 -bf 2"),
    "flv flv1": ("flv", "-c:v flv1 -q:v 2 -g 25 -c:a libmp3lame -ar 44100"),
    "ogv theora": ("ogv", "-c:v libtheora -q:v 10 -g 25 -c:a libvorbis"),
    "raw h264": ("h264", f"{X264} -g 25 -bf 2 -an"),
    "raw hevc": ("h265", f"{X265} -an -x265-params keyint=25:{QUIET}"),
    "gif": ("gif", "-an"),
    "two videos": ("mkv", f"{X264} -g 25 -bf 2 -map 0:v -map 0:v -map 0:a"),
}
QUICK = ("mp4 h264", "ts h264")
SILENT = ("mp4 h264 silent", "raw h264", "raw hevc", "gif")
REFUSED = {
    "copy": (
        "mpg mpeg2",
        "vob mpeg2",
        "avi mpeg4 b",
        "avi h264",
        "flv flv1",
        "raw h264",
        "raw hevc",
        "gif",
    ),
}
"""Mode -> sources that are refused in one line: without presentation times, or not for MP4."""

SMART = (
    "mp4 h264", "mp4 h264 no b", "mp4 h264 full", "mp4 h264 silent", "mp4 h264 10 bit",
    "mp4 hevc", "mp4 hevc open", "mp4 hevc hdr", "mov h264", "mkv h264", "mkv hevc", "ts h264",
    "ts hevc", "m2ts h264", "flv h264", "two videos",
)  # fmt: skip
"""Sources of which packets are copied by a smart cut; all frames of the others are encoded."""

CELLS = [
    pytest.param(name, mode, id=f"{name}-{mode}", marks=() if name in QUICK else pytest.mark.slow)
    for name in SOURCES
    for mode in ("encode", "copy", "smart")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``master.mkv``: lossless numbered frames, and a beep in each second."""
    folder = tmp_path_factory.mktemp("contract")
    times = np.arange(COUNT * SAMPLES // RATE) / SAMPLES
    beep = np.sin(2 * np.pi * 880 * times) * ((times % 1 >= 0.5) & (times % 1 < 0.6)) * 0.8
    with av.open(str(folder / "master.mkv"), "w") as out:
        video = out.add_stream("ffv1", rate=RATE)
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=SAMPLES, layout="mono")
        for number in range(COUNT):
            out.mux(video.encode(av.VideoFrame.from_ndarray(paint(number), format="rgb24")))
        out.mux(video.encode(None))
        values = (beep * 32767).astype(np.int16)[None]
        for first in range(0, values.shape[1], 960):
            chunk = np.ascontiguousarray(values[:, first : first + 960])
            frame = av.AudioFrame.from_ndarray(chunk, format="s16", layout="mono")
            frame.sample_rate, frame.pts = SAMPLES, first
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return folder


def source(folder: Path, name: str) -> Path:
    ending, arguments = SOURCES[name]
    path = folder / f"{name.replace(' ', '_')}.{ending}"
    if not path.exists():
        command = ["ffmpeg", "-v", "error", "-i", str(folder / "master.mkv"), *arguments.split()]
        subprocess.run([*command, str(path)], check=True, capture_output=True)
    return path


def frames(path: Path) -> tuple[list[float], list[int]]:
    """Return the player times and numbers of the frames."""
    with av.open(str(path)) as container:
        begin = (container.start_time or 0) / 1e6
        found = [
            (float(f.time) - begin, read(f.to_ndarray(format="rgb24")))
            for f in container.decode(video=0)
        ]
    return [t for t, _ in found], [n for _, n in found]


def beeps(path: Path) -> list[float]:
    """Return the player times at which audio begins."""
    found: list[float] = []
    last = -1.0
    with av.open(str(path)) as container:
        begin = (container.start_time or 0) / 1e6
        for frame in container.decode(audio=0):
            values = np.abs(frame.to_ndarray().astype(np.float64)).max(0)
            values /= 32768 if "s16" in frame.format.name else 1
            for place in np.flatnonzero(values > 0.25):
                time = float(frame.pts * frame.time_base) - begin + place / frame.sample_rate
                if time - last > 0.3:
                    found.append(time)
                last = time
    return found


def cut_of(path: Path, target: Path, mode: str) -> Cut:
    with CuttingSession.of(path) as session:
        return session.write(target, [PART], mode=mode)


@pytest.mark.parametrize(("name", "mode"), CELLS)
def test_parts_have_their_frames_and_their_audio(
    folder: Path, tmp_path: Path, name: str, mode: str
) -> None:
    path = source(folder, name)
    target = tmp_path / f"part{suffix_for(path, mode)}"
    if name in REFUSED.get(mode, ()):
        with pytest.raises(OutputError, match=r"cannot be (copied|written) .*leave out --copy"):
            cut_of(path, target, mode)
        assert list(tmp_path.iterdir()) == []
        return
    cut = cut_of(path, target, mode)
    if mode == "smart":
        assert any("all frames are encoded" in n for n in cut.notes) is (name not in SMART)
    times, numbers = frames(target)
    first = numbers[0]
    assert numbers == [*range(first, first + len(numbers))], (cut.notes, numbers)
    if mode == "copy":
        assert 0 <= first <= WANTED[0] and cut.starts[0] == pytest.approx(first / RATE, abs=0.03)
        lost = any("left out before" in note for note in cut.notes)
        assert WANTED[-1] - 4 * lost <= numbers[-1] <= WANTED[-1], cut.notes
    else:
        assert numbers == WANTED, cut.notes
    begin = times[0] if path.suffix == ".gif" else 0
    np.testing.assert_allclose(times, begin + np.arange(len(times)) / RATE, atol=6e-3)
    assert cut.seconds == pytest.approx(len(numbers) / RATE, abs=0.03)
    if name not in SILENT:
        expected = [t + (WANTED[0] - first) / RATE for t in BEEPS]
        heard = [t for t in beeps(target) if t < expected[-1] + 0.2]
        assert heard[-len(expected) :] == pytest.approx(expected, abs=0.02), cut.notes
    said = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(target), "-map", "0:v", "-f", "null", "-"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stderr == ""


@pytest.mark.parametrize("name", ["mp4 h264 full", "mp4 hevc hdr", "mp4 h264 10 bit"])
@pytest.mark.slow
def test_colours_are_kept(folder: Path, tmp_path: Path, name: str) -> None:
    entries = "pix_fmt,color_range,color_space,color_transfer,color_primaries,sample_aspect_ratio"
    path, target = source(folder, name), tmp_path / "part.mp4"

    def looks(path: Path) -> str:
        command = ["ffprobe", "-v", "error", "-select_streams", "v:0"]
        command += ["-show_entries", f"stream={entries}", "-of", "csv", str(path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.replace(
            "N/A", "1:1"
        )

    cut_of(path, target, "encode")
    assert looks(target) == looks(path)
