"""Skipping of frames with container features: edit lists, time offsets and changing headers."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.synth import SyntheticVideo
from tests.video.decoding.skipping import assert_same, h264, textured, without_packets
from tests.video.reading import read, sampling
from vtnstream.types import TimeRange


def test_times_that_contradict_the_frame_order_are_detected(tmp_path: Path) -> None:
    """An MP4 without its table of offsets has decoding times as presentation times; a pass that
    begins in the middle must detect this itself."""
    options = h264(bframes=1, b_adapt=0, keyint=100, scenecut=0)
    video = SyntheticVideo(count=200, gop=100, b_frames=1, draw=textured, options=options)
    path = video.write(tmp_path / "film.mp4")
    path.write_bytes(path.read_bytes().replace(b"ctts", b"free"))
    for start in (Fraction(5), Fraction(126, 25)):
        skipped, plain = (
            read(path, sampling("stride", stride=2), span=TimeRange(start, Fraction(7)), skip=skip)
            for skip in (True, False)
        )
        assert_same(
            replace(skipped, summary=without_packets(skipped)),
            replace(plain, summary=without_packets(plain)),
        )


def edited(path: Path, *edits: tuple[float, float]) -> Path:
    """Replace the edit list of an MP4 by entries (seconds, media time in seconds)."""
    data = bytearray(path.read_bytes())
    entries, places = data.index(b"elst") + 12, {}
    for name in (b"moov", b"trak", b"edts", b"elst"):
        places[name] = data.index(name) - 4
    ticks, media_ticks = (
        int.from_bytes(data[(at := data.index(name) + 16) : at + 4], "big")
        for name in (b"mvhd", b"mdhd")
    )
    first = int.from_bytes(data[entries + 4 : entries + 8], "big")
    rows = [(round(s * ticks), first + round(m * media_ticks), 1 << 16) for s, m in edits]
    data[entries - 4 : entries + 12] = struct.pack(">I", len(rows)) + b"".join(
        struct.pack(">3I", *row) for row in rows
    )
    for place in places.values():
        size = int.from_bytes(data[place : place + 4], "big") + 12 * (len(rows) - 1)
        data[place : place + 4] = size.to_bytes(4, "big")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("codec", "edits"),
    [("libx264", ((2.5, 1.83), (1.18, 1.55))), ("mpeg4", ((1.34, 1.58), (1.87, 2.82)))],
)
def test_frames_before_an_edit_are_decoded(
    tmp_path: Path, codec: str, edits: tuple[tuple[float, float], ...]
) -> None:
    """Frames that precede the start of an edit are decoded, although they are not displayed."""
    options = h264(bframes=1, keyint=12, scenecut=0) if codec == "libx264" else {}
    video = SyntheticVideo(
        count=130, gop=12, b_frames=1, draw=textured, codec=codec, ticks=25, options=options
    )
    path = edited(video.write(tmp_path / "film.mp4"), *edits)
    for fps in (2, 3):
        skipped, plain = (
            read(path, sampling(fps=fps), chunk_size=4, skip=skip) for skip in (True, False)
        )
        assert_same(skipped, plain)


def recorded_on(target: Path, *parts: Path) -> Path:
    """Join FLV files to one recording with a continuous clock; each has its own headers."""
    out, offset, last = parts[0].read_bytes()[:13], 0, 0
    for part in parts:
        data = part.read_bytes()[13:]
        while data:
            size = int.from_bytes(data[1:4], "big") + 15
            last = offset + int.from_bytes(data[7:8] + data[4:7], "big")
            stamp = last.to_bytes(4, "big")
            out += data[:4] + stamp[1:] + stamp[:1] + data[8:size]
            data = data[size:]
        offset = last + 40
    target.write_bytes(out)
    return target


@pytest.mark.parametrize("suffix", ["flv", "mp4"])
def test_packets_with_new_headers_are_not_omitted(tmp_path: Path, suffix: str) -> None:
    """The bit stream does not show that frames are coded differently from there on."""
    parts = []
    for offset in (0, 8):
        options = h264(keyint=25, cabac=0, qp=30, chroma_qp_offset=offset)
        video = SyntheticVideo(count=55, gop=25, b_frames=2, draw=coloured, options=options)
        parts.append(video.write(tmp_path / f"{offset}.flv"))
    path = recorded_on(tmp_path / "joined.flv", *parts, *parts)
    if suffix == "mp4":
        path = copied(path, tmp_path / "joined.mp4")
    skipped, plain = (
        read(path, sampling(fps="1/2"), chunk_size=4, skip=skip) for skip in (True, False)
    )
    assert_same(skipped, plain)
    assert skipped.summary.stats.num_frames < 0.9 * plain.summary.stats.num_frames


def coloured(number: int, width: int, height: int) -> np.ndarray:
    picture = textured(number, width, height)
    return np.stack([picture[..., 0], picture[:, ::-1, 1], picture[::-1, :, 2]], axis=2)


def copied(source: Path, target: Path) -> Path:
    """Write the same packets to another container."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    return target
