"""Demuxing and decoding packet by packet: damage is counted and skipped, never trusted,
never waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av.error

from vtnstream.errors import VideoDecodeError
from vtnstream.timecode import format_time
from vtnstream.video.clock import FrameClock
from vtnstream.video.container import OpenedVideo, reason_of
from vtnstream.video.continuity import HOLDS_LONG, Continuity
from vtnstream.video.probe import StreamFacts
from vtnstream.video.resize import RESIZER
from vtnstream.video.tally import Tally

DECODER = "software"
"""Part of the feature key: the kind of decoder."""

_MAX_READ_ERRORS_IN_A_ROW = 8
_MAX_READ_ERRORS = 200
_MAX_REORDERED = 32
"""Frames by which a decoder may lag behind its packets."""

# What libav raises for bad data. MemoryError is among its errors (a lying header).
DECODE_ERRORS = (av.error.FFmpegError, ValueError, MemoryError)


class CancelledError(Exception):
    """The consumer has left."""


class SeekUnverifiedError(Exception):
    """A seek did not land where it must: read the file from its start."""


@dataclass(slots=True)
class Picture:
    """A decoded frame in its place.

    Attributes:
        frame: ``av.VideoFrame``; to be converted at once, never stored.
        pts: timestamp in ticks as the file has it.
        time: player time in exact seconds.
        duration: declared by the file, in seconds; 0 where it does not say.
        is_key: a keyframe.
        end: where it ends if nothing follows.
        aspect: sample aspect ratio of the stream, None where it does not say.
    """

    frame: Any
    pts: int
    time: Fraction
    duration: Fraction
    is_key: bool
    end: Fraction
    aspect: Fraction | None


@dataclass(slots=True)
class FrameReader:
    """All frames of one video stream in presentation order."""

    video: OpenedVideo
    facts: StreamFacts
    keyframes_only: bool = False
    cancelled: Callable[[], bool] = lambda: False
    tally: Tally = field(default_factory=Tally)
    reached_end: bool = False
    stopped: str | None = None
    """Why reading ended before the end of the file."""
    num_encrypted: int = 0
    others_end: Fraction | None = None
    """Player time at which the other streams of the file end, where that was followed."""
    clock: FrameClock = field(init=False)
    continuity: Continuity = field(init=False)
    _first_packet: Any = None
    _landing: int | None = None
    _first_dts: int | None = None
    _lag: int | None = None

    def __post_init__(self) -> None:
        self.clock = FrameClock(self.facts)
        self.continuity = Continuity(self.facts, self.clock, self.keyframes_only)
        context = self.video.stream.codec_context
        # One thread: measured on damaged files, any other setting changes the pictures with the
        # number of threads, and slice threads hide the errors too (VP9: 32 errors became 0).
        context.thread_type = "NONE"
        context.thread_count = 1
        if not self._follows_others:
            for stream in self.video.container.streams:
                if stream is not self.video.stream:
                    stream.discard = av.stream.Discard.all

    @property
    def _follows_others(self) -> bool:
        """Sound that outlasts the picture may explain the container's duration."""
        return self.facts.header_end is None and self.facts.container_end is not None

    # ------------------------------------------------------------------------- seeking

    def seek(self, time: Fraction) -> None:
        """Go to a keyframe at or before ``time``; to be called before anything is read.

        Raises:
            SeekUnverifiedError: no such keyframe was found where the index says.
        """
        stream = self.video.stream
        target = (time + self.facts.start) // self.facts.time_base
        for seconds_back in (0, 2, 10):
            aim = target - int(seconds_back / self.facts.time_base)
            try:
                self.video.container.seek(aim, stream=stream, backward=True)
                packet = next((p for p in self._demuxed(1) if p.size), None)
            except (av.error.FFmpegError, OSError) as error:
                raise SeekUnverifiedError from error
            if packet is None or packet.pts is None:
                raise SeekUnverifiedError
            if packet.is_keyframe and not packet.is_corrupt and packet.pts <= target:
                self._first_packet, self._landing = packet, packet.pts
                return
        raise SeekUnverifiedError

    def _demuxed(self, limit: int) -> Iterator[Any]:
        for packet in self.video.container.demux(self.video.stream):
            yield packet
            limit -= 1
            if not limit:
                return

    # ------------------------------------------------------------------------- frames

    def pictures(self) -> Iterator[Picture]:
        """Decode to the end of the file.

        Raises:
            SeekUnverifiedError: after a seek, decoding does not start cleanly at its keyframe.
        """
        for frames in self._decoded():
            for frame in frames:
                picture = self._place(frame)
                if picture is not None:
                    yield picture

    def _place(self, frame: Any) -> Picture | None:
        if self._landing is not None and not self._has_landed(frame):
            return None
        corrupt = bool(frame.is_corrupt)
        self.tally.count("num_frames")
        placed = self.clock.place(*self._stamps(frame))
        if corrupt:
            self.tally.count("num_corrupt")
            self.continuity.note_damage(placed[1] if placed else None)
        if placed is None:
            self.tally.count("num_dropped")
            return None
        if self.keyframes_only and not frame.key_frame:
            return None
        pts, time = placed
        declared = Fraction(0)
        if self.facts.declared and frame.duration > 0:
            declared = frame.duration * self.facts.time_base
        stream = self.video.stream
        return Picture(
            frame=frame,
            pts=pts,
            time=time,
            duration=declared,
            is_key=bool(frame.key_frame),
            end=self._end(time, declared),
            aspect=stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio,
        )

    def _stamps(self, frame: Any) -> tuple[int | None, int | None]:
        """pts and dts of a frame in output order.

        Formats without pts (AVI) only say when packets are decoded, and a decoder that reorders
        by d frames hands out its first frame with the time of packet d: that lag is taken off.
        """
        pts, dts = frame.pts, frame.dts
        if self._lag is None:
            self._lag = 0
            if pts is None and dts is not None and self._first_dts is not None:
                lag = dts - self._first_dts
                longest = _MAX_REORDERED * self.facts.frame_seconds
                self._lag = lag if 0 <= lag * self.facts.time_base <= longest else 0
        return (
            None if pts is None else int(pts) - self._lag,
            None if dts is None else int(dts) - self._lag,
        )

    def _has_landed(self, frame: Any) -> bool:
        """After a seek: leading pictures of an open GOP lack their references and go; the
        first picture that counts is the keyframe itself, unharmed."""
        if frame.pts is not None and frame.pts < self._landing:
            return False
        if frame.pts != self._landing or not frame.key_frame or frame.is_corrupt:
            raise SeekUnverifiedError
        self._landing = None
        self.tally = Tally()
        self.continuity.forget_damage()
        return True

    def _end(self, time: Fraction, declared: Fraction) -> Fraction:
        """Where a frame ends if nothing follows."""
        usual = self.clock.usual_seconds
        if not declared:
            return time + usual
        header_end = self.facts.header_end
        if declared > HOLDS_LONG and header_end is not None and time < header_end:
            # Durations are stored in decoding order: a neighbour's may stand here.
            return min(time + declared, max(header_end, time + usual))
        return time + declared

    # ------------------------------------------------------------------------- packets

    def _decoded(self) -> Iterator[list[Any]]:
        context, alone = self.video.stream.codec_context, self.keyframes_only
        for packet in self.packets():
            self._note(packet)
            if alone and not packet.is_keyframe:
                continue
            if self._is_encrypted(packet):
                self.num_encrypted += 1
                self._count_error()
                continue
            try:
                frames = self._decode_alone(packet) if alone else context.decode(packet)
            except av.error.InterruptedError:
                raise KeyboardInterrupt from None
            except av.error.EOFError:
                context.flush_buffers()
                self._count_error()
            except DECODE_ERRORS:
                self._count_error()
                if self.tally.is_hopeless:
                    self.stopped = "almost no packet can be decoded"
                    return
            else:
                yield frames
        yield from self._flushed(context)
        self.reached_end = self.stopped is None

    def _decode_alone(self, packet: Any) -> list[Any]:
        """A keyframe without its neighbours. Decoding keyframes in a row, or with
        ``skip_frame="NONKEY"``, loses those of H.264's open GOPs and disorders the rest."""
        context = self.video.stream.codec_context
        try:
            frames = [*context.decode(packet), *context.decode(None)]
        finally:
            context.flush_buffers()
        for frame in frames:
            if frame.pts is None:
                frame.pts = packet.pts if packet.pts is not None else packet.dts
        return frames

    def _flushed(self, context: Any) -> Iterator[list[Any]]:
        try:
            yield context.decode(None)
        except DECODE_ERRORS:
            self._count_error()

    def _count_error(self) -> None:
        self.tally.count("num_packet_errors")
        self.continuity.note_damage()

    def _note(self, packet: Any) -> None:
        """Book-keeping of a packet before it is decoded."""
        self.tally.count("num_packets")
        if self._first_dts is None:
            self._first_dts = packet.dts
        if packet.is_corrupt:
            self.tally.count("num_corrupt")
        self.continuity.note(packet)

    def _is_encrypted(self, packet: Any) -> bool:
        return self.video.is_format("mov", "mp4") and bool(packet.has_sidedata("encryption_info"))

    def packets(self) -> Iterator[Any]:
        """Packets of the stream, over read errors as far as that makes sense.

        Raises:
            VideoDecodeError: the operating system cannot read the file.
        """
        if self._first_packet is not None:
            yield self._first_packet
            self._first_packet = None
        in_a_row = errors = 0
        while True:
            try:
                for packet in self._demux():
                    if self.cancelled():
                        raise CancelledError
                    in_a_row = 0
                    yield packet
                return
            except av.error.InterruptedError:
                raise KeyboardInterrupt from None
            except av.error.FFmpegError as error:
                in_a_row, errors = in_a_row + 1, errors + 1
                self._count_error()
                if in_a_row >= _MAX_READ_ERRORS_IN_A_ROW or errors >= _MAX_READ_ERRORS:
                    self.stopped = f"the file cannot be read further ({reason_of(error)})"
                    return
            except OSError as error:
                # The disk or network failed, not the film: what is missing now may be there
                # next time, so nothing may be concluded or stored from it.
                place = format_time(self.continuity.last_time, digits=2)
                raise VideoDecodeError(
                    f"{self.video.path}: reading failed after {place} ({reason_of(error)}); check "
                    "the disk or network and run again, or ask for what lies before with --end"
                ) from error

    def _demux(self) -> Iterator[Any]:
        ours = self.video.stream
        streams = [ours]
        if self._follows_others:
            streams += [s for s in self.video.container.streams if s.type == "audio"]
        for packet in self.video.container.demux(*streams):
            # An empty packet would tell the decoder that the film is over: libav's own end
            # markers, and dropped frames of AVI.
            if not packet.size:
                continue
            if packet.stream_index == ours.index:
                yield packet
            elif packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base - self.facts.start
                self.others_end = end if self.others_end is None else max(self.others_end, end)


__all__ = [
    "DECODER",
    "RESIZER",
    "CancelledError",
    "FrameReader",
    "Picture",
    "SeekUnverifiedError",
]
