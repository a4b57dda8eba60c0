"""Write the audio of a cut: packets of the source if possible, otherwise encoded samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from typing import Any

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from vtnstream.video.container import DECODE_ERRORS, container_start
from vtnstream.video.cutting.frames import Source
from vtnstream.video.decoding.clock import FrameClock
from vtnstream.video.probe import StreamFacts

_MIN_SEEK_SECONDS = Fraction(2)
_PREROLL = Fraction(1)
"""Seconds before a part at which audio decoding starts, because its first samples depend on earlier
ones."""

_MAX_COPIED_SECONDS = Fraction(1, 20)
"""Maximum duration in seconds of copied packets; longer ones would make cuts imprecise."""

_TRIED_PACKETS = 50
_MIN_SILENCE = Fraction(1, 50)
"""Seconds from which missing audio is replaced by silence; less is rounding of times."""

_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
"""Sample rates that AAC supports."""

_COPIED = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac"},
    "matroska": {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "vorbis", "dts", "truehd"},
}
"""Container -> audio codecs that players support in it."""


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """An audio packet and its player time in seconds."""

    packet: Any
    start: Fraction
    end: Fraction


@dataclass(slots=True)
class AudioReader:
    """Reads the packets of one audio stream in file order, with its own open file.

    Attributes:
        source: the video.
        index: index of the audio stream.
        num_errors: number of packets that could not be read.
    """

    source: Source
    index: int
    num_errors: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)
    _packets: Iterator[AudioPacket] | None = None
    _next: AudioPacket | None = None
    _stream: Any = None

    @property
    def stream(self) -> Any:
        """The ``av.audio.AudioStream`` of the open file."""
        if self._stream is None:
            self._open(None)
        return self._stream

    def close(self) -> None:
        """Close the file."""
        self._packets = self._next = self._stream = None
        self._stack.close()

    def seek(self, time: Fraction) -> None:
        """Continue with a packet that begins at or before ``time``, or with the first packet."""
        upcoming, seekable = self._next, self.source.facts.seekable
        if upcoming is not None and upcoming.start <= time:
            ahead = time - upcoming.start
            if not seekable or ahead < _MIN_SEEK_SECONDS:
                return
        self._open(time if self.source.facts.seekable and time > 0 else None)

    def until(self, time: Fraction) -> Iterator[AudioPacket]:
        """Yield the next packets that begin before ``time``."""
        if self._packets is None:
            self._open(None)
        while self._next is not None and self._next.start < time:
            packet = self._next
            self._advance()
            yield packet

    def _open(self, time: Fraction | None) -> None:
        self.close()
        video = self.source.opened(self._stack)
        self._stream = stream = video.container.streams[self.index]
        for other in video.container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        if time is not None:
            aim = int((time + container_start(video)) / stream.time_base)
            try:
                video.container.seek(aim, stream=stream, backward=True)
            except (av.error.FFmpegError, OSError):
                self._open(None)
                return
        self._packets = self._read(video.container, stream)
        self._advance()
        if time is not None and (self._next is None or self._next.start > time):
            self._open(None)  # the seek went too far: read from the start

    def _advance(self) -> None:
        assert self._packets is not None
        self._next = next(self._packets, None)

    def _read(self, container: Any, stream: Any) -> Iterator[AudioPacket]:
        facts = _facts(self.source.facts, stream)
        clock = FrameClock(facts)
        demuxed = container.demux(stream)
        while True:
            try:
                packet = next(demuxed, None)
            except (av.error.FFmpegError, OSError, IndexError):
                # IndexError: a damaged header refers to streams that do not exist.
                self.num_errors += 1
                return
            if packet is None:
                return
            if not packet.size or packet.stream_index != stream.index:
                continue
            place = clock.place(packet.pts, packet.dts, packet.duration or 0)
            if place is not None:
                seconds = (packet.duration or 0) * facts.time_base
                yield AudioPacket(packet, place.time, place.time + seconds)


def _facts(video: StreamFacts, stream: Any) -> StreamFacts:
    """Return the time properties of an audio stream, which follow those of the video stream."""
    context = stream.codec_context
    samples = getattr(context, "frame_size", 0) or 1024
    rate = getattr(context, "sample_rate", 0) or 48_000
    return StreamFacts(
        start=video.start,
        time_base=stream.time_base,
        frame_seconds=Fraction(samples, rate),
        declared=False,
        contiguous=False,
        raw_rate=None,
        wraps=video.wraps,
        seekable=video.seekable,
        header_end=None,
        container_end=None,
    )


# ------------------------------------------------------------------------------ the choice


@dataclass(frozen=True, slots=True)
class AudioChoice:
    """The selected audio stream.

    Attributes:
        index: index of the stream; None for no audio.
        copied: whether its packets are copied if the cut has a single part.
        notes: one sentence for each stream that is left out.
    """

    index: int | None
    copied: bool
    notes: tuple[str, ...]


def choose_audio(source: Source, container: str) -> AudioChoice:
    """Select the default audio stream, or else the first, among those that can be decoded.

    Args:
        source: the video.
        container: libav's name of the container that is written.
    """
    notes: list[str] = []
    found: list[tuple[bool, int]] = []
    with ExitStack() as stack:
        video = source.opened(stack)
        streams = [s for s in video.container.streams if s.type == "audio"]
        usual = [bool(s.disposition & av.stream.Disposition.default) for s in streams]
        indices = [s.index for s in streams]
    for index, default in zip(indices, usual, strict=True):
        if why := _undecodable(source, index):
            notes.append(f"audio stream {index} is left out: {why}")
        else:
            found.append((not default, index))
    if not found:
        return AudioChoice(None, False, tuple(notes))
    chosen = min(found)[1]
    notes += [
        f"audio stream {index} is left out: a cut has one" for _, index in found if index != chosen
    ]
    return AudioChoice(chosen, _is_copied(source, chosen, container), tuple(notes))


def _undecodable(source: Source, index: int) -> str | None:
    """Return why an audio stream cannot be decoded, or None if it can."""
    reader = AudioReader(source, index)
    try:
        context = reader.stream.codec_context
        if context is None:
            return "its codec is not known here"
        for number, found in enumerate(reader.until(Fraction(10**9))):
            try:
                if found.packet.decode():
                    return None
            except DECODE_ERRORS:
                pass
            if number == _TRIED_PACKETS:
                return "none of its packets can be decoded"
        return "it is empty, or none of its packets can be decoded"
    except DECODE_ERRORS:
        return "its codec is not known here"
    finally:
        reader.close()


def _is_copied(source: Source, index: int, container: str) -> bool:
    reader = AudioReader(source, index)
    try:
        if reader.stream.codec_context.codec.canonical_name not in _COPIED[container]:
            return False
        first = list(islice(reader.until(Fraction(10**9)), 10))
        return all(0 < p.end - p.start <= _MAX_COPIED_SECONDS for p in first)
    finally:
        reader.close()


# ------------------------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class Placed:
    """Position of a part: ``start`` in the source, in player time, is at ``at`` in the output."""

    start: Fraction
    at: Fraction


class CopiedAudio:
    """Writes audio packets unchanged, at their exact times."""

    def __init__(self, out: Any, reader: AudioReader, *, early: bool) -> None:
        """Add an audio stream to an output.

        Args:
            out: ``av.container.OutputContainer``.
            reader: reads the audio stream of the source.
            early: whether the container can start within a packet (edit lists).
        """
        self._out, self._reader, self._early = out, reader, early
        self._stream = out.add_stream_from_template(reader.stream)
        self._part: Placed | None = None
        self._last: int | None = None

    def begin(self, part: Placed) -> None:
        """Start a part."""
        self._part = part
        self._reader.seek(part.start - _PREROLL)

    def write_until(self, time: Fraction, *, ends: bool = False) -> None:
        """Write the audio up to ``time`` of the source; ``ends`` marks the end of the part."""
        part = self._part
        assert part is not None
        for found in self._reader.until(time):
            begun = found.end > part.start if self._early and not part.at else False
            if found.start < part.start - _MIN_SILENCE / 10 and not begun:
                continue
            packet = found.packet
            base = packet.time_base
            ticks = round((found.start - part.start + part.at) / base)
            if self._last is not None and ticks <= self._last:
                continue
            packet.pts = packet.dts = self._last = ticks
            packet.stream = self._stream
            self._out.mux_one(packet)

    def finish(self, seconds: Fraction) -> None:
        """Complete the audio of an output that is ``seconds`` long."""


class EncodedAudio:
    """Encodes continuous samples as AAC; missing audio becomes silence."""

    def __init__(self, out: Any, reader: AudioReader) -> None:
        self._out, self._reader = out, reader
        context = reader.stream.codec_context
        channels = context.layout.nb_channels
        known = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
        self._layout = known.get(channels, "stereo")
        self._channels = channels if channels in known else 2
        rate = int(context.sample_rate or 0)
        self._rate = rate if rate in _RATES else 48_000
        self._stream = out.add_stream("aac", rate=self._rate, layout=self._layout)
        self._resample = self._resampler()
        self._part: Placed | None = None
        self._samples = 0

    def _resampler(self) -> Any:
        return av.AudioResampler("fltp", self._layout, self._rate)

    def begin(self, part: Placed) -> None:
        """Start a part."""
        self._part = part
        self._reader.seek(part.start - _PREROLL)
        self._reader.stream.codec_context.flush_buffers()
        self._resample = self._resampler()

    def write_until(self, time: Fraction, *, ends: bool = False) -> None:
        """Write the audio up to ``time`` of the source; ``ends`` marks the end of the part."""
        part = self._part
        assert part is not None
        for found in self._reader.until(time):
            try:
                frames = found.packet.decode()
            except DECODE_ERRORS:
                continue
            for frame in frames:
                start = found.start + _lag(frame, found.packet)
                for values in self._resampled(frame):
                    self._add(values, start, time if ends else None, part)
                    start += Fraction(values.shape[1], self._rate)

    def _resampled(self, frame: Any) -> Iterator[NDArray[np.float32]]:
        """Yield the resampled (channels, samples) float32 of a frame."""
        try:
            found = self._resample.resample(frame)
        except ValueError:  # rate or layout has changed
            self._resample = self._resampler()
            found = self._resample.resample(frame)
        for resampled in found:
            yield resampled.to_ndarray()

    def _add(
        self, values: NDArray[np.float32], start: Fraction, stop: Fraction | None, part: Placed
    ) -> None:
        first = max(round((part.start - start) * self._rate), 0)
        last = None if stop is None else max(round((stop - start) * self._rate), 0)
        place = round((part.at + max(start - part.start, Fraction(0))) * self._rate)
        kept = values[:, first:last]
        if kept.shape[1] == 0:
            return
        ahead = self._samples - place
        if ahead > self._rate * _MIN_SILENCE:  # times overlap: skip the samples already written
            kept = kept[:, ahead:]
        self._fill(place, least=int(self._rate * _MIN_SILENCE))
        self._encode(kept)

    def _fill(self, place: int, least: int) -> None:
        """Write silence up to sample ``place`` if more than ``least`` samples are missing."""
        missing = place - self._samples
        while missing > least:
            count = min(missing, self._rate)
            self._encode(np.zeros((self._channels, count), np.float32))
            missing -= count

    def _encode(self, values: NDArray[np.float32]) -> None:
        if values.shape[1] == 0:
            return
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(values), format="fltp", layout=self._layout
        )
        frame.sample_rate = self._rate
        frame.pts = self._samples
        frame.time_base = Fraction(1, self._rate)
        self._samples += values.shape[1]
        self._out.mux(self._stream.encode(frame))

    def finish(self, seconds: Fraction) -> None:
        """Write silence up to ``seconds``, then flush the encoder."""
        self._fill(round(seconds * self._rate), least=0)
        self._out.mux(self._stream.encode(None))


def _lag(frame: Any, packet: Any) -> Fraction:
    """Return the seconds by which a decoded frame begins after its packet."""
    if frame.pts is None or packet.pts is None or not frame.time_base:
        return Fraction(0)
    lag: Fraction = frame.pts * frame.time_base - packet.pts * packet.time_base
    return lag if abs(lag) < 1 else Fraction(0)


Audio = CopiedAudio | EncodedAudio
