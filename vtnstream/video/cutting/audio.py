"""The sound of a cut: the packets of the source where they fit, else encoded to the sample."""

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

_WORTH_SEEKING = Fraction(2)
_BEFORE = Fraction(1)
"""Seconds a decoder of sound is started before the part: its first samples need what precedes."""

_LONGEST_COPIED = Fraction(1, 20)
"""Seconds; longer packets would cut the sound too coarsely."""

_TRIED_PACKETS = 50
_SILENCE = Fraction(1, 50)
"""Seconds of missing sound that are filled with silence; less is the rounding of times."""

_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
"""Samples a second that AAC has."""

_COPIED = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac"},
    "matroska": {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "vorbis", "dts", "truehd"},
}
"""Container -> codecs of sound that players expect in it."""


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """A packet of sound and its player time in seconds."""

    packet: Any
    start: Fraction
    end: Fraction


@dataclass(slots=True)
class AudioReader:
    """Packets of one audio stream in the order of the file, from an opening of their own.

    Attributes:
        source: the video.
        index: of the audio stream.
        num_errors: packets that could not be read.
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
        """``av.audio.AudioStream`` of the file that is open."""
        if self._stream is None:
            self._open(None)
        return self._stream

    def close(self) -> None:
        """Close the file."""
        self._packets = self._next = self._stream = None
        self._stack.close()

    def seek(self, time: Fraction) -> None:
        """Make a packet that ends at or before ``time`` the next one, or the first of all."""
        upcoming, seekable = self._next, self.source.facts.seekable
        if upcoming is not None and upcoming.start <= time:
            ahead = time - upcoming.start
            if not seekable or ahead < _WORTH_SEEKING:
                return
        self._open(time if self.source.facts.seekable and time > 0 else None)

    def until(self, time: Fraction) -> Iterator[AudioPacket]:
        """The next packets that begin before ``time``."""
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
            self._open(None)  # the index is late: read from the start

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
                # IndexError: a damaged header numbers streams that do not exist.
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
    """How the times of a stream of sound are read: as those of the video beside it."""
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
    """The stream of sound that goes along.

    Attributes:
        index: of the stream, None for none.
        copied: its packets are taken as they are where the cut has a single part.
        notes: what was left out, one sentence each.
    """

    index: int | None
    copied: bool
    notes: tuple[str, ...]


def choose_audio(source: Source, container: str) -> AudioChoice:
    """The default stream of sound, else the first, of those that can be decoded.

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
    """Why a stream of sound cannot be decoded, None where it can."""
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
        return all(0 < p.end - p.start <= _LONGEST_COPIED for p in first)
    finally:
        reader.close()


# ------------------------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class Placed:
    """A part as it is placed in the output: what begins at ``start`` in the source, in player
    time, begins at ``at`` in the output."""

    start: Fraction
    at: Fraction


class CopiedAudio:
    """Packets of sound as they are, at their exact times."""

    def __init__(self, out: Any, reader: AudioReader, *, early: bool) -> None:
        """Args:
        early: the container can begin within a packet (edit lists).
        """
        self._out, self._reader, self._early = out, reader, early
        self._stream = out.add_stream_from_template(reader.stream)
        self._part: Placed | None = None
        self._last: int | None = None

    def begin(self, part: Placed) -> None:
        """A part begins."""
        self._part = part
        self._reader.seek(part.start - _BEFORE)

    def write_until(self, time: Fraction, *, ends: bool = False) -> None:
        """Write the sound up to ``time`` of the source, where the part perhaps ``ends``."""
        part = self._part
        assert part is not None
        for found in self._reader.until(time):
            begun = found.end > part.start if self._early and not part.at else False
            if found.start < part.start - _SILENCE / 10 and not begun:
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
        """The output is ``seconds`` long."""


class EncodedAudio:
    """Samples in a row as AAC, silence where there are none."""

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
        """A part begins."""
        self._part = part
        self._reader.seek(part.start - _BEFORE)
        self._reader.stream.codec_context.flush_buffers()
        self._resample = self._resampler()

    def write_until(self, time: Fraction, *, ends: bool = False) -> None:
        """Write the sound up to ``time`` of the source, where the part perhaps ``ends``."""
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
        """(channels, samples) of a frame."""
        try:
            found = self._resample.resample(frame)
        except ValueError:  # rate or layout changed on the way
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
        if ahead > self._rate * _SILENCE:  # times that run together: the sound is longer
            kept = kept[:, ahead:]
        self._fill(place, least=int(self._rate * _SILENCE))
        self._encode(kept)

    def _fill(self, place: int, least: int) -> None:
        """Silence up to sample ``place`` where more than ``least`` are missing."""
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
        """Silence up to the end of the video, then what the encoder still holds."""
        self._fill(round(seconds * self._rate), least=0)
        self._out.mux(self._stream.encode(None))


def _lag(frame: Any, packet: Any) -> Fraction:
    """Seconds by which a decoded frame begins after the packet that it came with."""
    if frame.pts is None or packet.pts is None or not frame.time_base:
        return Fraction(0)
    lag: Fraction = frame.pts * frame.time_base - packet.pts * packet.time_base
    return lag if abs(lag) < 1 else Fraction(0)


Audio = CopiedAudio | EncodedAudio
