"""Parts of a video as a new video: packets moved as they are from keyframe to keyframe, or
pictures and sound encoded again to the exact times. Sound stays with its picture."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from vtnstream.errors import OutputError, VtnstreamError
from vtnstream.replacing import check_target, move_into_place
from vtnstream.types import TimeRange
from vtnstream.video.container import OpenedVideo, container_start, opened, output_url, reason_of

ENDINGS = (".mp4", ".mkv", ".mov", ".m4v")
_ENCODER = {"preset": "veryfast", "crf": "20"}
_AUDIO_RATE = 48_000
_CLOCK = Fraction(1, 90_000)
_BEFORE = Fraction(3)
"""Seconds a seek aims before a part: indices of some files are late."""


def cut(
    source: str | Path,
    target: str | Path,
    parts: Sequence[TimeRange],
    *,
    encode: bool = True,
    overwrite: bool = False,
) -> float:
    """Write parts of a video, one after the other.

    Args:
        source: a local video.
        target: the new file, which appears only when it is whole; its ending chooses the
            container.
        parts: in player time, each with an end, in order and not overlapping.
        encode: encode again, exact to the frame; else packets are copied, and each part
            begins at the keyframe at or before its start.
        overwrite: replace ``target`` if it exists (the source is never replaced).

    Returns:
        Seconds of picture written.

    Raises:
        OutputError: the file cannot be written or exists, or nothing of the parts is in the
            video.
        VideoOpenError: the source cannot be opened.
    """
    target = Path(target)
    if target.suffix.lower() not in ENDINGS:
        raise OutputError(f"{target}: cuts are written to {', '.join(ENDINGS)} files")
    if not parts or any(p.end is None or p.end <= p.start for p in parts):
        raise OutputError(f"{target}: no part to cut out")
    check_target(target, sources=[source], overwrite=overwrite)
    temporary = target.with_name(f".vtnstream-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    work = _encode if encode else _copy
    try:
        with opened(source) as video, _open(temporary, target) as out:
            seconds = work(video, out, parts)
        if not seconds:
            raise OutputError(f"{target}: nothing of these times is in {source}")
        move_into_place(temporary, target, overwrite=overwrite)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, VtnstreamError):
            raise
        raise OutputError(
            f"{target}: the cut cannot be written ({reason_of(error)}); "
            "try another ending, or --copy instead of encoding"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return float(seconds)


def _open(temporary: Path, target: Path) -> Any:
    kind = {".mkv": "matroska", ".mov": "mov"}.get(target.suffix.lower(), "mp4")
    return av.open(output_url(temporary), "w", format=kind)


def _sound(video: OpenedVideo) -> Any:
    """The audio stream that goes along, or None."""
    return next((s for s in video.container.streams if s.type == "audio"), None)


def _seek(video: OpenedVideo, time: Fraction) -> None:
    stream = video.stream
    aim = max(time - _BEFORE, Fraction(0)) + container_start(video)
    video.container.seek(int(aim / stream.time_base), stream=stream, backward=True)


# ------------------------------------------------------------------------------- copying


def _copy(video: OpenedVideo, out: Any, parts: Sequence[TimeRange]) -> Fraction:
    """Packets of each part from the keyframe at or before its start."""
    audio = _sound(video)
    inputs = [video.stream] if audio is None else [video.stream, audio]
    copies = {stream.index: out.add_stream_from_template(stream) for stream in inputs}
    written = Fraction(0)
    newest = dict.fromkeys(copies, Fraction(-1))
    for part in parts:
        packets = _packets_of(video, inputs, part)
        key = next((p for p in packets if p.stream is video.stream), None)
        if key is None:
            continue
        begin = key.pts * key.time_base
        # Decoding times begin before the first picture; they must not run into the part before.
        early = max(begin - p.dts * p.time_base for p in packets[:50] if p.stream is video.stream)
        shift = written + (early if written else 0) - begin
        end = written
        for packet in packets:
            time = packet.pts * packet.time_base
            if packet.stream is not video.stream and time < begin:
                continue
            index = packet.stream.index
            packet.pts += round(shift / packet.time_base)
            packet.dts += round(shift / packet.time_base)
            if packet.dts * packet.time_base <= newest[index]:
                continue  # sound that overlaps the part before
            newest[index] = packet.dts * packet.time_base
            if packet.stream is video.stream:
                length = (packet.duration or 0) * packet.time_base
                end = max(end, time + shift + length)
            packet.stream = copies[index]
            out.mux_one(packet)
        written = end
    return written


def _packets_of(video: OpenedVideo, inputs: list[Any], part: TimeRange) -> list[Any]:
    """Packets from the last keyframe at or before the start to the end, in their order."""
    start = part.start + container_start(video)
    assert part.end is not None
    end = part.end + container_start(video)
    _seek(video, part.start)
    found: list[Any] = []
    seen_key = False
    for packet in video.container.demux(inputs):
        if packet.pts is None or packet.dts is None:
            continue
        time = packet.pts * packet.time_base
        own = packet.stream is video.stream
        if own and packet.is_keyframe and time <= start:
            found, seen_key = [], True  # sound of this part may stand before its picture
        if own and not seen_key and packet.is_keyframe:
            seen_key = True  # the video begins behind the start of the part
        if own and seen_key and packet.dts * packet.time_base >= end:
            return found
        if (seen_key or not own) and (not own or time < end or packet.dts * packet.time_base < end):
            if not own and time >= end:
                continue
            found.append(packet)
    return found


# ------------------------------------------------------------------------------ encoding


def _encode(video: OpenedVideo, out: Any, parts: Sequence[TimeRange]) -> Fraction:
    """Frames and samples of each part, decoded from before it and trimmed."""
    context = video.stream.codec_context
    rate = video.stream.average_rate or Fraction(25)
    picture = out.add_stream("libx264", rate=rate, options=_ENCODER)
    picture.width, picture.height = context.width // 2 * 2, context.height // 2 * 2
    picture.pix_fmt, picture.time_base = "yuv420p", _CLOCK
    picture.codec_context.time_base = _CLOCK
    picture.codec_context.sample_aspect_ratio = context.sample_aspect_ratio or Fraction(1)
    audio = _sound(video)
    sound = None if audio is None else _Sound(out, audio)
    written = Fraction(0)
    for part in parts:
        written += _encode_part(video, out, picture, sound, part, written)
    out.mux(picture.encode(None))
    if sound is not None:
        sound.finish(written)
    return written


def _encode_part(
    video: OpenedVideo,
    out: Any,
    picture: Any,
    sound: _Sound | None,
    part: TimeRange,
    written: Fraction,
) -> Fraction:
    """Seconds of picture that one part came to."""
    begin = container_start(video)
    assert part.end is not None
    first: Fraction | None = None
    last = Fraction(0)
    frame_seconds = 1 / (video.stream.average_rate or Fraction(25))
    for frame, time in _frames(video, sound, part, begin):
        if isinstance(frame, av.AudioFrame):
            assert sound is not None
            sound.add(frame, time, part, written)
            continue
        first = time if first is None else first
        last = time + frame_seconds
        frame.pts = round((written + time - first) / _CLOCK)
        frame.time_base = _CLOCK
        frame.pict_type = 0
        out.mux(picture.encode(frame))
    return Fraction(0) if first is None else min(last, part.end) - first


def _frames(
    video: OpenedVideo, sound: _Sound | None, part: TimeRange, begin: Fraction
) -> Iterator[tuple[Any, Fraction]]:
    """Decoded frames of a part with their player times; damage is passed over."""
    assert part.end is not None
    _seek(video, part.start)
    for context in [video.stream.codec_context] + ([sound.source.codec_context] if sound else []):
        context.flush_buffers()
    inputs = [video.stream] + ([sound.source] if sound else [])
    done = {stream.index: False for stream in inputs}
    for packet in video.container.demux(inputs):
        index = packet.stream.index
        if done[index]:
            if all(done.values()):
                return
            continue
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError):
            continue
        for frame in frames:
            if frame.pts is None:
                continue
            time = frame.pts * frame.time_base - begin
            if time >= part.end:
                done[index] = True
                break
            if packet.stream is not video.stream or time >= part.start:
                yield frame, time


class _Sound:
    """The audio of the output: samples in a row, silence where there are none."""

    def __init__(self, out: Any, source: Any) -> None:
        self.source = source
        self._out = out
        layout = "mono" if source.codec_context.layout.nb_channels == 1 else "stereo"
        self._stream = out.add_stream("aac", rate=_AUDIO_RATE, layout=layout)
        self._resample = av.AudioResampler("fltp", layout, _AUDIO_RATE)
        self._channels = 1 if layout == "mono" else 2
        self._layout = layout
        self._samples = 0

    def add(self, frame: Any, time: Fraction, part: TimeRange, written: Fraction) -> None:
        """Take what of a frame lies in the part."""
        assert part.end is not None
        for resampled in self._resample.resample(frame):
            values = resampled.to_ndarray()  # (channels, samples)
            first = round((part.start - time) * _AUDIO_RATE)
            stop = round((part.end - time) * _AUDIO_RATE)
            place = round((written + max(time - part.start, Fraction(0))) * _AUDIO_RATE)
            self._write(values[:, max(first, 0) : max(stop, 0)], place)
            time += Fraction(values.shape[1], _AUDIO_RATE)

    def _write(self, values: Any, place: int) -> None:
        if values.shape[1] == 0:
            return
        missing = place - self._samples
        if missing > _AUDIO_RATE // 50:  # less is the rounding of times
            self._encode(np.zeros((self._channels, missing), np.float32))
        self._encode(values)

    def _encode(self, values: Any) -> None:
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(values), format="fltp", layout=self._layout
        )
        frame.sample_rate = _AUDIO_RATE
        frame.pts = self._samples
        frame.time_base = Fraction(1, _AUDIO_RATE)
        self._samples += values.shape[1]
        self._out.mux(self._stream.encode(frame))

    def finish(self, seconds: Fraction) -> None:
        """Silence up to the end of the picture, then what the encoder still holds."""
        missing = round(seconds * _AUDIO_RATE) - self._samples
        if missing > 0:
            self._encode(np.zeros((self._channels, missing), np.float32))
        self._out.mux(self._stream.encode(None))
