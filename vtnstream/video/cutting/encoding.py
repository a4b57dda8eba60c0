"""Re-encode frames with the bit depth, range, matrix, transfer and pixel aspect of the source.

Frames are rotated upright for the encoder.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from vtnstream.video.cutting.frames import PartFrame, Source
from vtnstream.video.orientation import Orientation, frame_orientation, plausible_aspect

_H264 = {"preset": "veryfast", "crf": "20"}
_HEVC = {"preset": "veryfast", "crf": "21"}
_QUIET = "log-level=none"
_PQ, _HLG = 16, 18
"""Values of ``transfer_characteristics`` (H.273) with high dynamic range."""

_BT709, _BT601 = 1, 6
_UNSPECIFIED = 2
_HIGH_DEFINITION = 720
_MAX_FRAME_RATE = 240
_MAX_TICKS_PER_SECOND = 1_000_000
_CLOCK = Fraction(1, 90_000)

_FORMATS = {
    "yuv411p": "yuv422p",
    "yuv410p": "yuv420p",
    "yuv440p": "yuv444p",
    "yuvj440p": "yuvj444p",
    "yuvj411p": "yuvj422p",
    "yuva420p": "yuv420p",
    "yuva422p": "yuv422p",
    "yuva444p": "yuv444p",
    "gray": "yuv420p",
    "gray10le": "yuv420p10le",
    "gray12le": "yuv420p12le",
}
"""Pixel format that encoders or players do not support -> the closest supported one."""


@dataclass(frozen=True, slots=True)
class Look:
    """Format of the encoded frames.

    Attributes:
        codec: libav's name of the encoder.
        pixel_format: pixel format of the frames.
        width, height: size of the frames, upright and even.
        orientation: how decoded frames are rotated.
        aspect: sample aspect ratio of upright frames.
        colour: range, matrix, primaries and transfer as numbered in H.273.
        options: options of the encoder.
        notes: one sentence for each difference from the source.
    """

    codec: str
    pixel_format: str
    width: int
    height: int
    orientation: Orientation
    aspect: Fraction
    colour: tuple[int, int, int, int]
    options: dict[str, str]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, first: PartFrame, source: Source) -> Look:
        """Return the format that preserves the properties of the first frame."""
        frame, notes = first.frame, []
        orientation, _ = frame_orientation(frame)
        pixel_format = _pixel_format(frame, turned=orientation.transposed)
        colour = _colour(frame)
        codec, options = _encoder(frame, pixel_format, colour, source.info.codec_name)
        width, height = frame.width, frame.height
        aspect, _ = plausible_aspect(first.aspect)
        if orientation.transposed:
            width, height, aspect = height, width, 1 / aspect
        across, down = (1, 1) if "444" in pixel_format else (2, 1 if "422" in pixel_format else 2)
        even = (max(width // across * across, across), max(height // down * down, down))
        if even != (width, height):
            notes.append(f"{width} x {height} is written as {even[0]} x {even[1]} (even sides)")
        if "a" in frame.format.name.removeprefix("yuv")[:1] or frame.format.name.endswith("bra"):
            notes.append("transparency is left out")
        return cls(codec, pixel_format, *even, orientation, aspect, colour, options, tuple(notes))


def _depth(frame: Any) -> int:
    """Return the bits per sample; 8 for a palette."""
    components = frame.format.components
    return max((c.bits for c in components), default=8) if not frame.format.has_palette else 8


def _pixel_format(frame: Any, *, turned: bool) -> str:
    """Return the pixel format to encode: that of the source if an encoder supports it."""
    name: str = frame.format.name
    depth = _depth(frame)
    if frame.format.is_rgb or frame.format.has_palette or not name.startswith(("yuv", "gray")):
        name = "yuv420p" if depth <= 8 else "yuv420p10le"
    name = _FORMATS.get(name, name)
    if turned and "422" in name:  # rotation would exchange the axis of chroma subsampling
        name = name.replace("422", "444")
    taken = {f.name for f in av.Codec("libx264" if depth <= 8 else "libx265", "w").video_formats}
    if name in taken:
        return name
    chroma = next((c for c in ("444", "422") if c in name), "420")
    return f"yuv{chroma}p" + ("" if depth <= 8 else "10le" if depth <= 10 else "12le")


def _colour(frame: Any) -> tuple[int, int, int, int]:
    """Return range, matrix, primaries and transfer of a frame; for RGB those of its encoding."""
    if frame.format.is_rgb or frame.format.has_palette:
        matrix = _BT709 if frame.height >= _HIGH_DEFINITION else _BT601
        return 1, matrix, _UNSPECIFIED, _UNSPECIFIED
    full = 2 if frame.format.name.startswith("yuvj") else int(frame.color_range)
    return full, int(frame.colorspace), int(frame.color_primaries), int(frame.color_trc)


def _encoder(
    frame: Any, pixel_format: str, colour: tuple[int, int, int, int], codec: str
) -> tuple[str, dict[str, str]]:
    """Return the encoder and its options.

    It is H.264, or HEVC for high dynamic range and more than 8 bits, which players support in
    HEVC only (10-bit H.264 remains H.264).
    """
    high = colour[3] in (_PQ, _HLG)
    depth = _depth(frame)
    if depth <= 8 and not high:
        return "libx264", dict(_H264)
    if codec == "h264" and not high and depth <= 10:
        return "libx264", dict(_H264)
    more = [_QUIET, *_mastering(frame)]
    if high:
        more.append("hdr10-opt=0:repeat-headers=1")
    return "libx265", {**_HEVC, "x265-params": ":".join(more)}


def _mastering(frame: Any) -> list[str]:
    """Return mastering display and light levels of HDR10 as options of x265."""
    found = {}
    try:
        for data in frame.side_data:
            found[data.type.name] = bytes(data)
    except ValueError:  # side data that PyAV does not support
        return []
    options = []
    display = found.get("MASTERING_DISPLAY_METADATA", b"")
    if len(display) >= 88:
        numbers = struct.unpack("=22i", display[:88])
        if numbers[20] and numbers[21]:
            pairs = zip(numbers[0:20:2], numbers[1:20:2], strict=True)
            values = [Fraction(n, d) if d else Fraction(0) for n, d in pairs]
            points = [round(v * 50_000) for v in values[:8]]
            low, high = (round(v * 10_000) for v in values[8:10])
            red, green, blue, white = (tuple(points[i : i + 2]) for i in (0, 2, 4, 6))
            shape = "".join(
                f"{name}({x},{y})"
                for name, (x, y) in zip("GBRW", (green, blue, red, white), strict=False)
            ).replace("W", "WP")
            options.append(f"master-display={shape}L({high},{low})")
    light = found.get("CONTENT_LIGHT_LEVEL", b"")
    if len(light) >= 8:
        options.append("max-cll={},{}".format(*struct.unpack("=2I", light[:8])))
    return options


class VideoEncoder:
    """The re-encoded video stream of a cut.

    Attributes:
        look: format of the encoded frames.
        notes: one sentence for each difference from the source.
    """

    def __init__(self, out: Any, first: PartFrame, source: Source) -> None:
        self.look = look = Look.of(first, source)
        self.notes = list(look.notes)
        self._out, self._source = out, source
        self._clock = _clock(source)
        stream = out.add_stream(look.codec, rate=_rate(source), options=look.options)
        context = stream.codec_context
        stream.width, stream.height, stream.pix_fmt = look.width, look.height, look.pixel_format
        stream.time_base = context.time_base = self._clock
        context.sample_aspect_ratio = look.aspect
        context.color_range, context.colorspace = look.colour[:2]
        context.color_primaries, context.color_trc = look.colour[2:]
        if look.codec == "libx265" and out.format.name in ("mp4", "mov"):
            context.codec_tag = "hvc1"
        self._stream = stream
        self._ends: dict[int, int] = {}
        self._last = self._end = -1
        self._waiting: Any = None
        self._lead: int | None = None
        self._size = (first.frame.width, first.frame.height)

    def write(self, part_frame: PartFrame, start: Fraction, end: Fraction, *, first: bool) -> None:
        """Encode a frame that is displayed from ``start`` to ``end`` of the output.

        Args:
            part_frame: the frame.
            start, end: in seconds.
            first: whether it begins a part and becomes a keyframe.
        """
        frame = self._prepared(part_frame.frame)
        frame.pts = max(round(start / self._clock), self._last + 1)
        frame.time_base = self._clock
        frame.pict_type = 1 if first else 0
        self._last = frame.pts
        self._end = max(round(end / self._clock), frame.pts + 1)
        self._ends[frame.pts] = self._end
        self._mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Flush the encoder and write its remaining packets."""
        self._mux(self._stream.encode(None))
        packet = self._waiting
        if packet is not None:
            # MP4 adds durations in decoding order, so the last packet must reach the end, even if
            # its frame is not the last one.
            reach = self._end - (self._lead or 0) - packet.dts
            packet.duration = max(packet.duration or 1, reach)
            self._out.mux(packet)

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            end = self._ends.pop(packet.pts, None)
            if end is not None:
                packet.duration = end - packet.pts
            if self._lead is None:
                self._lead = packet.pts - packet.dts
            if self._waiting is not None:
                self._out.mux(self._waiting)
            self._waiting = packet

    def _prepared(self, frame: Any) -> Any:
        look, orientation = self.look, self.look.orientation
        if (frame.width, frame.height) != self._size:
            note = f"frames change their size to {frame.width} x {frame.height}: they are scaled"
            if note not in self.notes:
                self.notes.append(note)
            frame = _converted(frame, look, *self._size)
        elif frame.format.name != look.pixel_format:
            frame = _converted(frame, look, frame.width, frame.height)
        if orientation != Orientation() or self._size != (look.width, look.height):
            frame = _upright(frame, look)
        frame.color_range, frame.colorspace = look.colour[:2]
        frame.color_primaries, frame.color_trc = look.colour[2:]
        return frame


def _converted(frame: Any, look: Look, width: int, height: int) -> Any:
    full, matrix = look.colour[:2]
    rgb = frame.format.is_rgb or frame.format.has_palette
    return frame.reformat(
        width=width,
        height=height,
        format=look.pixel_format,
        src_color_range=None if rgb else full or 1,
        dst_color_range=full or 1,
        src_colorspace=None if rgb else _matrix_of_scaler(matrix),
        dst_colorspace=_matrix_of_scaler(matrix),
    )


def _matrix_of_scaler(matrix: int) -> int:
    """Return swscale's number of a colour matrix; BT.601 for an unknown one."""
    return {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}.get(matrix, 5)


def _upright(frame: Any, look: Look) -> Any:
    """Rotate a frame and crop it to even sides, plane by plane."""
    turned = av.VideoFrame(look.width, look.height, look.pixel_format)
    size = 2 if _depth(frame) > 8 else 1
    for source, target in zip(frame.planes, turned.planes, strict=True):
        values = _samples(source, size)
        values = look.orientation.apply(values)
        into = _samples(target, size)
        into[:] = values[: into.shape[0], : into.shape[1]]
    return turned


def _samples(plane: Any, size: int) -> Any:
    """Return the (h, w) samples of a plane as a view."""
    kind = np.uint8 if size == 1 else np.uint16
    rows = np.frombuffer(plane, kind).reshape(-1, plane.line_size // size)
    return rows[: plane.height, : plane.width]


def _clock(source: Source) -> Fraction:
    """Return the time base of the output in seconds: the source's if possible, so that times are
    exact."""
    tick = source.facts.time_base
    exact = tick.numerator == 1 and 1000 < tick.denominator <= _MAX_TICKS_PER_SECOND
    if source.facts.raw_rate is None and exact:
        return tick
    return _CLOCK


def _rate(source: Source) -> Fraction:
    rate = source.info.average_rate or 1 / source.facts.frame_seconds
    return rate if Fraction(1, 100) <= rate <= _MAX_FRAME_RATE else Fraction(25)
