"""Test videos with the frame number painted in, so that a test can identify each frame.

This module imports no torch: tests of any room may use it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vtnstream.types import Fit

Picture = NDArray[np.uint8]
_BITS = 4
_ON, _OFF = 200, 40


def paint(number: int, width: int = 128, height: int = 96) -> Picture:
    """Draw an image that shows ``number`` (16 bits) as a 4 x 4 board of light and dark fields,
    first bit top left."""
    bits = [(number >> i) & 1 for i in range(_BITS * _BITS)]
    board = np.array(bits, bool).reshape(_BITS, _BITS)
    rows = np.arange(height) * _BITS // height
    columns = np.arange(width) * _BITS // width
    grey = np.where(board[rows][:, columns], _ON, _OFF).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def read(picture: Picture) -> int:
    """Return the number painted on an image of any size."""
    height, width = picture.shape[:2]
    rows = ((np.arange(_BITS) + 0.5) * height / _BITS).astype(int)
    columns = ((np.arange(_BITS) + 0.5) * width / _BITS).astype(int)
    board = picture[rows][:, columns].mean(axis=2) > (_ON + _OFF) / 2
    return int(sum(1 << i for i, bit in enumerate(board.ravel()) if bit))


def quadrants(width: int = 128, height: int = 96) -> Picture:
    """Draw red, green / blue, white, which distinguishes every rotation and mirroring."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = (220, 30, 30)
    picture[: height // 2, width // 2 :] = (30, 200, 30)
    picture[height // 2 :, : width // 2] = (30, 30, 220)
    picture[height // 2 :, width // 2 :] = 230
    return picture


def whole(size: int = 32) -> Callable[[int, int], Fit]:
    """Return a fit that squashes the whole frame to ``size`` x ``size``."""
    return lambda width, height: Fit(size, size, 0, 0, size, size)


@dataclass
class SyntheticVideo:
    """How to write one file; every field but ``count`` may stay as it is.

    Attributes:
        count: number of frames.
        rate: frames per second, where ``times`` does not say.
        ticks: ticks of the encoder in a second.
        times: presentation time of each frame in seconds.
        last_seconds: duration of the last frame.
        start: seconds added to all times.
        codec, options, pix_fmt: of the encoder.
        size: width and height of frame k.
        draw: picture of frame k.
        matrix: display matrix (9 numbers) of the container.
        aspect: sample aspect ratio.
        lost: frames (in coding order) that are never written.
        broken: packets (in coding order) whose data is overwritten.
        audio_seconds: length of a tone beside the video; None is no sound.
        cover: a cover picture beside (or instead of) the video.
        second_stream: another video stream of this size.
        muxer: options of the container.
    """

    count: int = 50
    rate: Fraction | int = 25
    ticks: Fraction | int = 90_000
    times: Sequence[Fraction | float | int] | None = None
    last_seconds: Fraction | float | None = None
    start: Fraction | float = 0
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=lambda: {"preset": "ultrafast", "crf": "18"})
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (128, 96)
    draw: Callable[[int, int, int], Picture] = paint
    gop: int = 12
    b_frames: int = 0
    matrix: tuple[int, ...] | None = None
    aspect: Fraction | None = None
    lost: Collection[int] = ()
    broken: Collection[int] = ()
    audio_seconds: float | None = None
    cover: bool = False
    video: bool = True
    second_stream: tuple[int, int] | None = None
    format: str | None = None
    muxer: dict[str, str] = field(default_factory=dict)

    def write(self, path: Path) -> Path:
        """Write the file and return its path."""
        with av.open(str(path), "w", format=self.format, options=self.muxer) as out:
            streams = [_video_stream(out, self, self.size)] if self.video else []
            if self.second_stream:
                streams.append(_video_stream(out, self, self.second_stream))
            sound = out.add_stream("aac", rate=44_100) if self.audio_seconds else None
            cover = _cover_stream(out) if self.cover else None
            if cover is not None:
                out.mux(_encoded(cover, quadrants(64, 64)))
            if sound is not None:
                _write_tone(out, sound, self.audio_seconds or 0)
            for stream in streams:
                for packet in self._packets(stream):
                    out.mux(packet)
        return path

    def presentation_times(self) -> list[Fraction]:
        """Return the exact time of each frame before ``start`` is added."""
        if self.times is not None:
            return [Fraction(t).limit_denominator(int(self.ticks)) for t in self.times]
        return [Fraction(k) / Fraction(self.rate) for k in range(self.count)]

    def _packets(self, stream: Any) -> list[Any]:
        times = self.presentation_times()
        last = self.last_seconds or (1 / Fraction(self.rate) if self.rate else Fraction(1, 25))
        ends = [*times[1:], times[-1] + Fraction(last)]
        packets: list[Any] = []
        durations: dict[int, int] = {}
        width, height = stream.width, stream.height
        for number, (time, end) in enumerate(zip(times, ends, strict=True)):
            frame = av.VideoFrame.from_ndarray(self.draw(number, width, height), format="rgb24")
            frame = frame.reformat(format=self.pix_fmt, width=width, height=height)
            frame.pts = round((time + Fraction(self.start)) * self.ticks)
            durations[frame.pts] = round((end - time) * self.ticks)
            frame.time_base = 1 / Fraction(self.ticks)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet in packets:
            packet.duration = durations[packet.pts]
        return [
            _overwritten(p, stream) if i in self.broken else p
            for i, p in enumerate(packets)
            if i not in self.lost
        ]


def _video_stream(out: Any, video: SyntheticVideo, size: tuple[int, int]) -> Any:
    stream = out.add_stream(video.codec, rate=Fraction(video.rate or 25), options=video.options)
    stream.width, stream.height = size
    stream.pix_fmt = video.pix_fmt
    stream.codec_context.time_base = 1 / Fraction(video.ticks)
    stream.codec_context.gop_size = video.gop
    stream.codec_context.max_b_frames = video.b_frames
    stream.codec_context.thread_count = 1
    if video.aspect is not None:
        stream.codec_context.sample_aspect_ratio = video.aspect
    if video.matrix is not None:
        stream.set_display_matrix(video.matrix)
    return stream


def _cover_stream(out: Any) -> Any:
    stream = out.add_stream("mjpeg", rate=1)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuvj420p"
    stream.disposition = av.stream.Disposition.attached_pic
    return stream


def _encoded(stream: Any, picture: Picture) -> list[Any]:
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    return [*stream.encode(frame), *stream.encode(None)]


def _write_tone(out: Any, stream: Any, seconds: float) -> None:
    samples = np.sin(np.arange(int(seconds * 44_100)) * 0.05).astype(np.float32)
    for begin in range(0, len(samples), 1024):
        part = samples[None, begin : begin + 1024]
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
        frame.rate, frame.pts = 44_100, begin
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def _overwritten(packet: Any, stream: Any) -> Any:
    """Return the packet with its second half replaced by noise."""
    data = bytearray(bytes(packet))
    noise = np.random.default_rng(0).integers(0, 256, len(data), np.uint8).tobytes()
    data[len(data) // 3 :] = noise[len(data) // 3 :]
    other = av.Packet(bytes(data))
    other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
    other.time_base, other.stream = packet.time_base, stream
    other.is_keyframe = packet.is_keyframe
    return other


def truncated(path: Path, share: float, target: Path) -> Path:
    """Return the first ``share`` of a file's bytes."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * share)])
    return target


def joined(target: Path, *parts: Path) -> Path:
    """Concatenate files (transport streams can be joined in this way)."""
    target.write_bytes(b"".join(part.read_bytes() for part in parts))
    return target
