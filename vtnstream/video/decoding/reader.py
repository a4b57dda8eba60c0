"""Decode one stream packet by packet into frames in presentation order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av.error

from vtnstream.errors import VideoDecodeError, VideoError
from vtnstream.types import FrameIndex
from vtnstream.video.container import DECODE_ERRORS, OpenedVideo
from vtnstream.video.decoding.bitstream import classifier
from vtnstream.video.decoding.clock import FrameClock, FrameTime
from vtnstream.video.decoding.continuity import Continuity
from vtnstream.video.decoding.counters import DecodeCounters
from vtnstream.video.decoding.frame_counter import FrameCounter
from vtnstream.video.decoding.lookahead import FrameChoice, SkippingUnsafeError, SkipPlanner
from vtnstream.video.decoding.packets import CancelledError, PacketReader, SeekUnverifiedError
from vtnstream.video.decoding.sparse import SkippedFrame, SparseDecoder, ThreadsUnsafeError
from vtnstream.video.probe import StreamFacts
from vtnstream.video.resize import RESIZER

DECODER = "software"
"""Name of the decoder in the feature key."""

_MAX_WARNINGS = 5

_MAX_REORDERED = 32
"""Largest number of frames by which a decoder may lag behind its packets."""


@dataclass(slots=True)
class DecodedFrame:
    """A frame and its time.

    Attributes:
        frame: an ``av.VideoFrame``, which must be converted at once and not stored; or a
            :class:`~vtnstream.video.decoding.sparse.SkippedFrame` if it was not decoded.
        place: its time and duration.
        aspect: sample aspect ratio of the stream, or None if it states none.
    """

    frame: Any
    place: FrameTime
    aspect: Fraction | None


@dataclass(slots=True)
class FrameReader:
    """Reads all frames of one video stream in presentation order.

    Attributes:
        choice: selects the frames to decode; None decodes all. If skipping is not safe (no times,
            unknown codecs), all frames are decoded.
        decode_last: whether the last packets are decoded even if they are not chosen, because this
            may reveal that the file was cut.
        threads: number of frames that the decoder works on at the same time. It applies only if
            there is a choice, and skipping is safe: each frame is then checked (see
            :mod:`vtnstream.video.decoding.sparse`), and the first error ends the pass.
        next_part: opens the part of a stream that follows the end of the current one, or returns
            None; its frames follow the last frame, whatever their timestamps. A part for which
            it raises VideoError is counted as lost.
        num_encrypted: number of encrypted packets.
        reached_end: whether the file was read to its end.
    """

    video: OpenedVideo
    facts: StreamFacts
    keyframes_only: bool = False
    choice: FrameChoice | None = None
    decode_last: bool = True
    threads: int = 1
    next_part: Callable[[], OpenedVideo | None] = lambda: None
    cancelled: Callable[[], bool] = lambda: False
    counters: DecodeCounters = field(default_factory=DecodeCounters)
    reached_end: bool = False
    num_encrypted: int = 0
    clock: FrameClock = field(init=False)
    continuity: Continuity = field(init=False)
    source: PacketReader = field(init=False)
    _counter: FrameCounter | None = field(default_factory=FrameCounter)
    _sparse: bool = False
    _landing: int | None = None
    _first_dts: int | None = None
    _lag: int | None = None
    _is_joining: bool = False

    def __post_init__(self) -> None:
        self.clock = FrameClock(self.facts)
        self.continuity = Continuity(self.facts, self.clock, self.keyframes_only)
        self._begin(self.video)

    def _begin(self, video: OpenedVideo) -> None:
        self.video = video
        self.source = PacketReader(
            video, self.facts, self.counters, self.continuity, self.cancelled
        )
        if not video.stream.codec_context.is_open:
            video.use_one_thread()

    @property
    def stopped(self) -> str | None:
        """Why reading ended before the end of the file, or None."""
        return self.source.stopped

    @property
    def frames(self) -> FrameIndex | None:
        """Numbers of the decoded frames, if reading began with the first frame and skipped none."""
        if self._counter is None or self.keyframes_only:
            return None
        return self._counter.index(whole=self.reached_end)

    def seek(self, time: Fraction, *, certain: bool = False) -> None:
        """Seek to a keyframe at or before ``time``. Must be called before any frame is read.

        Args:
            time: player time.
            certain: also require by the bit stream that no later frame depends on earlier packets.

        Raises:
            SeekUnverifiedError: the index does not lead to such a keyframe.
        """
        packet = self.source.seek(time)
        if certain:
            classify = classifier(self.video.stream.codec_context)
            kind = classify(packet) if classify is not None else None
            if kind is None or not kind.restart:
                raise SeekUnverifiedError
        self._landing = packet.pts
        self._counter = None

    # --------------------------------------------------------------------------- frames

    def decoded_frames(self) -> Iterator[DecodedFrame]:
        """Decode to the end of the file.

        Raises:
            SeekUnverifiedError: after a seek, decoding does not start cleanly at its keyframe.
            ThreadsUnsafeError: the decoder met an error; decode with one thread.
            SkippingUnsafeError: frames cannot be skipped safely; decode without ``choice``.
        """
        for frame in self._frames():
            decoded = self._place(frame)
            if decoded is not None:
                yield decoded

    def _frames(self) -> Iterator[Any]:
        classify = classifier(self.video.stream.codec_context) if self.choice else None
        if self.choice is None or classify is None or self.facts.raw_rate is not None:
            for frames in self._decoded():
                yield from frames
            return
        self._sparse = True
        planner = SkipPlanner(
            self._undamaged_packets(),
            classify,
            self.choice,
            after_seek=self.source.after_seek,
            decode_last=self.decode_last,
        )
        decoder = SparseDecoder(self.video, planner, self._note_undamaged, self.threads)
        yield from decoder.frames()
        self.reached_end = True

    def _place(self, frame: Any) -> DecodedFrame | None:
        if self._landing is not None and not self._has_landed(frame):
            return None
        seen = not isinstance(frame, SkippedFrame)
        corrupt = seen and bool(frame.is_corrupt)
        if seen:
            self.counters.count("num_frames")
        place = self.clock.place(*self._stamps(frame), max(0, frame.duration))
        if self._sparse and (corrupt or place is None or not self._is_undamaged):
            raise SkippingUnsafeError("damage, or a clock that jumps")
        if corrupt:
            self.counters.count("num_corrupt")
            self.continuity.note_damage(place.time if place else None)
        if place is None:
            self.counters.count("num_dropped")
            self._counter = None
            return None
        if self._counter is not None:
            self._counter.add(place.tick if self.facts.raw_rate is None else place.pts)
        if self.keyframes_only and not frame.key_frame:
            return None
        return DecodedFrame(frame, place, self._aspect() if seen else None)

    def _aspect(self) -> Fraction | None:
        stream = self.video.stream
        ratio: Fraction | None = stream.sample_aspect_ratio
        return ratio or stream.codec_context.sample_aspect_ratio

    def _stamps(self, frame: Any) -> tuple[int | None, int | None]:
        """Return pts and dts of a frame in output order.

        Formats without pts (AVI) only store decoding times. A decoder that reorders by d frames
        returns its first frame with the time of packet d; this lag is subtracted.
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
        """After a seek, skip leading frames of an open GOP, which lack references. The first frame
        to use is the keyframe itself, which must be undamaged."""
        if frame.pts is not None and frame.pts < self._landing:
            return False
        skipped = isinstance(frame, SkippedFrame)
        if frame.pts != self._landing or skipped or not frame.key_frame or frame.is_corrupt:
            raise SeekUnverifiedError
        self._landing = None
        self.counters.forget()
        self.continuity.forget_damage()
        return True

    # ------------------------------------------------------------------------- packets

    def packets(self) -> Iterator[Any]:
        """Yield all packets of the stream without decoding them.

        Raises:
            VideoDecodeError: the operating system cannot read the file.
        """
        return self.source.packets()

    def _decoded(self) -> Iterator[list[Any]]:
        yield from self._decoded_part()
        while self.stopped is None and (video := self._next_readable_part()) is not None:
            self._begin(video)
            self._is_joining = True
            yield from self._decoded_part()
        self.reached_end = self.stopped is None

    def _next_readable_part(self) -> OpenedVideo | None:
        while True:
            try:
                return self.next_part()
            except VideoError as error:
                self.source.count_error()
                if self.counters.num_packet_errors <= _MAX_WARNINGS:
                    self.clock.warnings.append(f"a part of the stream is left out: {error}")

    def _decoded_part(self) -> Iterator[list[Any]]:
        context, alone = self.video.stream.codec_context, self.keyframes_only
        for packet in self.packets():
            self._convert_times(packet)
            self._note(packet)
            if alone and not packet.is_keyframe:
                continue
            if self._is_encrypted(packet):
                self.num_encrypted += 1
                self.source.count_error()
                continue
            try:
                frames = self._decode_alone(packet) if alone else self.video.decode(packet)
            except av.error.InterruptedError:
                raise KeyboardInterrupt from None
            except av.error.EOFError:
                context.flush_buffers()
                self.source.count_error()
            except DECODE_ERRORS:
                self.source.count_error()
                if self.counters.is_unusable:
                    self.source.stopped = "almost no packet can be decoded"
                    return
            else:
                yield frames
        yield from self._flushed(context)

    def _convert_times(self, packet: Any) -> None:
        """Convert the times of a packet to the ticks of the first part."""
        base = self.facts.time_base
        if packet.time_base and packet.time_base != base:
            ratio = packet.time_base / base
            packet.pts = None if packet.pts is None else round(packet.pts * ratio)
            packet.dts = None if packet.dts is None else round(packet.dts * ratio)
            packet.duration = round((packet.duration or 0) * ratio)
        if self._is_joining and packet.pts is not None:
            self.clock.join(packet.pts)
            self._is_joining = False

    def _decode_alone(self, packet: Any) -> list[Any]:
        """Decode a keyframe by itself. Decoding keyframes one after the other, or with
        ``skip_frame="NONKEY"``, loses those of open GOPs in H.264 and disorders the rest."""
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
            self.source.count_error()

    def _note(self, packet: Any) -> None:
        """Count a packet before it is decoded."""
        self.counters.count("num_packets")
        if self._first_dts is None:
            self._first_dts = packet.dts
        if packet.is_corrupt:
            self.counters.count("num_corrupt")
        self.continuity.note(packet)

    def _is_encrypted(self, packet: Any) -> bool:
        return self.facts.contiguous and bool(packet.has_sidedata("encryption_info"))

    # --------------------------------------------------------------------------- damage

    def _undamaged_packets(self) -> Iterator[Any]:
        """Yield packets for the look-ahead. After any damage all frames of the file are decoded, so
        that the damage is reported at its place."""
        try:
            for packet in self.packets():
                if self.counters.num_packet_errors:
                    break
                yield packet
        except VideoDecodeError as error:
            raise SkippingUnsafeError("the file cannot be read") from error
        if self.counters.num_packet_errors or self.stopped is not None:
            raise SkippingUnsafeError("a read failed")

    def _note_undamaged(self, packet: Any, *, decoded: bool) -> None:
        self._note(packet)
        if not self._is_undamaged or (decoded and self._is_encrypted(packet)):
            raise SkippingUnsafeError("a packet that is damaged or encrypted")

    @property
    def _is_undamaged(self) -> bool:
        """Whether there was no damage or clock jump so far."""
        clock = self.clock
        return not (self.continuity.is_damaged or clock.offset or clock.warnings)


__all__ = [
    "DECODER",
    "RESIZER",
    "CancelledError",
    "DecodedFrame",
    "FrameReader",
    "SeekUnverifiedError",
    "SkippedFrame",
    "SkippingUnsafeError",
    "ThreadsUnsafeError",
]
