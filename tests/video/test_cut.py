"""Cuts by copying and by encoding have the correct frames and synchronous audio."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.synth import SyntheticVideo, paint, read
from vtnstream.errors import OutputError
from vtnstream.types import TimeRange
from vtnstream.video.cut import CuttingSession, cut

RATE, SECONDS, AUDIO = 25, 12, 48_000


@pytest.fixture(scope="module")
def clapper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of numbered frames with a keyframe every second, and a beep in the first tenth of
    each even second."""
    path = tmp_path_factory.mktemp("cut") / "clapper.mp4"
    times = np.arange(SECONDS * AUDIO) / AUDIO
    beep = np.sin(2 * np.pi * 440 * times) * ((times % 2) < 0.1) * 0.8
    with av.open(str(path), "w") as out:
        video = out.add_stream(
            "libx264", rate=RATE, options={"g": "25", "sc_threshold": "0", "bf": "2", "crf": "18"}
        )
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p"
        sound = out.add_stream("aac", rate=AUDIO, layout="mono")
        for number in range(SECONDS * RATE):
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for first in range(0, len(beep), 1024):
            part = np.zeros((1, 1024), np.float32)
            chunk = beep[first : first + 1024]
            part[0, : len(chunk)] = chunk
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = AUDIO, first
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


def pictures(path: Path) -> list[tuple[float, int]]:
    with av.open(str(path)) as container:
        begin = container.start_time / 1e6
        return [
            (float(frame.time) - begin, read(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]


def beeps(path: Path) -> list[float]:
    """Return the player times at which audio begins after silence."""
    with av.open(str(path)) as container:
        begin = container.start_time / 1e6
        found: list[float] = []
        quiet = -1.0
        for frame in container.decode(audio=0):
            values = np.abs(frame.to_ndarray()).max(0)
            for place in np.flatnonzero(values > 0.3):
                time = float(frame.pts * frame.time_base) - begin + place / frame.sample_rate
                if time - quiet > 0.5:
                    found.append(time)
                quiet = time
        return found


def test_encoded_parts_are_exact_and_in_sync(clapper: Path, tmp_path: Path) -> None:
    parts = [TimeRange(Fraction("1.4"), Fraction("4.6")), TimeRange(Fraction(7), Fraction("8.52"))]
    seconds = cut(clapper, tmp_path / "cut.mp4", parts)
    assert seconds == pytest.approx(3.2 + 1.52, abs=0.001)
    shown = pictures(tmp_path / "cut.mp4")
    assert [number for _, number in shown] == [*range(35, 115), *range(175, 213)]
    np.testing.assert_allclose([t for t, _ in shown], np.arange(118) / RATE, atol=2e-3)
    # Beeps of the source at 2 and 4 s, and at 8 s, which is 1 s into the second part.
    assert beeps(tmp_path / "cut.mp4") == pytest.approx([0.6, 2.6, 3.2 + 1.0], abs=0.03)


def test_copied_parts_begin_at_keyframes_and_are_in_sync(clapper: Path, tmp_path: Path) -> None:
    parts = [TimeRange(Fraction("1.4"), Fraction("4.6")), TimeRange(Fraction("7.5"), Fraction(9))]
    cut(clapper, tmp_path / "copy.mp4", parts, encode=False)
    shown = pictures(tmp_path / "copy.mp4")
    numbers = [number for _, number in shown]
    assert numbers[0] == 25  # the keyframe at 1 s
    assert set(range(35, 115)) <= set(numbers)
    second = numbers.index(175)
    assert set(range(188, 225)) <= set(numbers[second:])
    times = [t for t, _ in shown]
    assert all(b > a for a, b in pairwise(times))
    sounds = beeps(tmp_path / "copy.mp4")
    where = {number: t for t, number in shown}
    for source_second, heard in zip((2, 4, 8), sounds, strict=True):
        assert heard == pytest.approx(where[source_second * RATE], abs=0.05)


def test_matroska_and_videos_without_audio_are_cut(tmp_path: Path) -> None:
    video = SyntheticVideo(count=100, rate=10).write(tmp_path / "mute.mkv")
    cut(video, tmp_path / "part.mkv", [TimeRange(Fraction(2), Fraction(4))])
    assert [n for _, n in pictures(tmp_path / "part.mkv")] == list(range(20, 40))


def test_invalid_cuts_are_refused(clapper: Path, tmp_path: Path) -> None:
    whole = [TimeRange(Fraction(0), Fraction(1))]
    with pytest.raises(OutputError, match=r"\.mp4"):
        cut(clapper, tmp_path / "x.avi", whole)
    with pytest.raises(OutputError, match="no part"):
        cut(clapper, tmp_path / "x.mp4", [])
    with pytest.raises(OutputError, match="nothing of these times"):
        cut(clapper, tmp_path / "x.mp4", [TimeRange(Fraction(50), Fraction(60))])
    with pytest.raises(OutputError, match="cannot be written"):
        cut(clapper, tmp_path / "none" / "x.mp4", whole)
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_cannot_be_copied_does_not_spoil_the_next(tmp_path: Path) -> None:
    options = {"b": "3000000"}
    video = SyntheticVideo(
        count=200, ticks=25, codec="mpeg2video", format="vob", b_frames=2, gop=15, options=options
    ).write(tmp_path / "film.vob")
    parts = [TimeRange(Fraction(13, 25), Fraction(3)), TimeRange(Fraction(3), Fraction(26, 5))]
    with CuttingSession.of(video) as session:
        for number, part in enumerate(parts):
            try:
                found = session.write(tmp_path / f"{number}.mp4", [part], mode="copy")
            except OutputError as error:
                assert "presentation times" in str(error)
                continue
            assert part.end is not None
            assert 0 <= float(part.start) - found.starts[0] < 0.7
            assert found.seconds == pytest.approx(float(part.end) - found.starts[0], abs=0.05)


@pytest.mark.parametrize("name", ["film.flv", "film.mov"])
def test_parts_of_one_group_are_copied_from_coarse_times(name: str, tmp_path: Path) -> None:
    ticks = {"film.flv": 1000, "film.mov": 600}[name]
    video = SyntheticVideo(count=150, gop=50, ticks=ticks).write(tmp_path / name)
    with CuttingSession.of(video) as session:
        offset = float(session.packets.key_time(Fraction(0)) or 0)
        for number, (start, end) in enumerate(((0.52, 1.0), (1.0, 1.6), (3.0, 5.2))):
            part = TimeRange(Fraction(start), Fraction(end))
            target = tmp_path / f"{number}.mp4"
            found = session.write(target, [part], mode="copy")
            first = round((found.starts[0] - offset) * 25)
            numbers = [number for _, number in pictures(target)]
            assert numbers == list(range(first, round((end - offset) * 25)))


def test_a_frame_that_is_held_does_not_lengthen_a_copy(tmp_path: Path) -> None:
    times = [Fraction(k, 25) for k in (*range(50), *range(550, 600))]
    video = SyntheticVideo(count=100, times=times, b_frames=2, gop=250).write(tmp_path / "film.mp4")
    with CuttingSession.of(video) as session:
        found = session.write(
            tmp_path / "copy.mp4", [TimeRange(Fraction(0), Fraction(24))], mode="copy"
        )
    assert found.seconds == 24
    data = (tmp_path / "copy.mp4").read_bytes()
    scale, duration = struct.unpack_from(">II", data, data.index(b"mvhd") + 16)
    assert duration / scale == pytest.approx(24, abs=0.05)  # of the movie header
    assert [number for _, number in pictures(tmp_path / "copy.mp4")] == list(range(100))


def _overwrite_slices(path: Path) -> None:
    """Fill each NAL unit of an H.264 file, except for the byte that says what it is."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            at = packet.pos or 0
            while packet.size and at < packet.pos + packet.size:
                size = struct.unpack_from(">I", data, at)[0]
                data[at + 5 : at + 4 + size] = b"\xff" * (size - 1)
                at += 4 + size
    path.write_bytes(data)


def test_copied_packets_that_no_decoder_can_read_are_an_error(tmp_path: Path) -> None:
    source = SyntheticVideo(count=50).write(tmp_path / "source.mp4")
    _overwrite_slices(source)
    part = TimeRange(Fraction(0), Fraction(1))
    with (
        CuttingSession.of(source) as session,
        pytest.raises(OutputError, match="none of the copied packets can be decoded"),
    ):
        session.write(tmp_path / "part.mp4", [part], mode="copy")
    assert os.listdir(tmp_path) == ["source.mp4"]
