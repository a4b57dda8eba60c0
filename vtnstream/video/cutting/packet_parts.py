"""Read the packets of a part in decoding order, from the keyframe at or before its start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import Any

from vtnstream.errors import OutputError
from vtnstream.video.cutting.frames import Source
from vtnstream.video.decoding.bitstream import Classify, classifier
from vtnstream.video.decoding.clock import FrameClock
from vtnstream.video.decoding.packets import SeekUnverifiedError
from vtnstream.video.decoding.reader import FrameReader

_MIN_SEEK_SECONDS = Fraction(2)
_MAX_WITHOUT_DTS = 64


class UncopyableError(OutputError):
    """Packets of this source cannot be copied; the message is a clause that states the reason."""


@dataclass(frozen=True, slots=True)
class TimedPacket:
    """A packet of the video stream.

    Attributes:
        packet: ``av.Packet``.
        time: player time in seconds at which its frame is displayed.
        decoded: decoding time in player time, never later than ``time``.
        is_key: whether decoding can begin with it.
        restarts: whether it is independent of earlier packets, including frame numbers (IDR).
    """

    packet: Any
    time: Fraction
    decoded: Fraction
    is_key: bool
    restarts: bool

    @property
    def length(self) -> Fraction:
        """Duration of its frame in seconds according to the container."""
        return Fraction((self.packet.duration or 0) * self.packet.time_base)


@dataclass(slots=True)
class PacketParts:
    """Reads the packets of parts in order of time; reading continues from one part to the next.

    Attributes:
        source: the video.
    """

    source: Source
    _stack: ExitStack = field(default_factory=ExitStack)
    _stream: Any = None
    _packets: Iterator[TimedPacket] | None = None
    _group: list[TimedPacket] = field(default_factory=list)
    """Packets since the last keyframe, with which the next part may begin."""
    _ahead: TimedPacket | None = None

    def close(self) -> None:
        """Close the file."""
        self._packets = self._ahead = self._stream = None
        self._group.clear()
        self._stack.close()

    @property
    def stream(self) -> Any:
        """The ``av.video.VideoStream`` of the open file."""
        if self._stream is None:
            self._open(None)
        return self._stream

    def key_time(self, start: Fraction) -> Fraction | None:
        """Return the player time of the keyframe at or before ``start``, else that of the first
        keyframe; None if there is none.

        Raises:
            UncopyableError: packets have no times.
        """
        self._position(start)
        return self._group[0].time if self._group else None

    def of(self, start: Fraction) -> Iterator[TimedPacket]:
        """Yield packets from the keyframe at or before ``start`` on.

        Raises (while iterating):
            UncopyableError: packets have no times.
            VideoDecodeError: the operating system cannot read the file.
        """
        self._position(start)
        yield from chain([*self._group], self._rest())

    def _position(self, start: Fraction) -> None:
        """Read until the current group is that of the last keyframe at or before ``start``."""
        limit = start + self.source.tolerance
        if not self._can_continue(limit):
            self._open(start)
        while (packet := self._take()) is not None:
            if packet.is_key and packet.time <= limit:
                self._group = [packet]
            elif (packet.is_key and self._group) or (packet.decoded > limit and self._group):
                self._ahead = packet
                return
            elif packet.is_key or self._group:
                self._group.append(packet)

    def _can_continue(self, limit: Fraction) -> bool:
        if self._packets is None or not self._group or self._group[0].time > limit:
            return False
        return not self.source.facts.seekable or limit - self._group[0].time < _MIN_SEEK_SECONDS

    def _rest(self) -> Iterator[TimedPacket]:
        while (packet := self._take()) is not None:
            if packet.is_key:
                self._group = [packet]
            else:
                self._group.append(packet)
            yield packet

    def _take(self) -> TimedPacket | None:
        packet, self._ahead = self._ahead, None
        if packet is None and self._packets is not None:
            try:
                packet = next(self._packets, None)
            except Exception:
                self.close()  # the iterator has ended; the next part must not take it for the end
                raise
        return packet

    def _open(self, start: Fraction | None) -> None:
        self.close()
        if start is not None and self.source.facts.seekable and start > _MIN_SEEK_SECONDS:
            try:
                self._read(start)
                first = self._take()
                if first is not None and first.is_key and first.time <= start + _SEEK_TOLERANCE:
                    self._ahead = first
                    return
            except SeekUnverifiedError:
                pass
            self.close()
        self._read(None)

    def _read(self, start: Fraction | None) -> None:
        reader = FrameReader(self.source.opened(self._stack), self.source.facts)
        if start is not None:
            reader.source.seek(start)
        self._stream = reader.video.stream
        self._packets = _with_decoding_times(self._timed(reader), self.source)

    def _timed(self, reader: FrameReader) -> Iterator[tuple[Any, int, int | None]]:
        """Yield packets with their presentation and decoding ticks on one timeline."""
        clock = FrameClock(self.source.facts)
        if self.source.facts.raw_rate is not None:
            raise UncopyableError("an elementary stream has no times")
        for packet in reader.packets():
            if packet.pts is None:
                raise UncopyableError("its packets have no presentation times")
            if packet.dts is not None:
                clock.place(packet.dts, packet.dts)
            dts = None if packet.dts is None else min(packet.dts, packet.pts) + clock.offset
            yield packet, packet.pts + clock.offset, dts


_SEEK_TOLERANCE = Fraction(1, 2000)


def _with_decoding_times(
    packets: Iterator[tuple[Any, int, int | None]], source: Source
) -> Iterator[TimedPacket]:
    """Yield packets with complete decoding times.

    Matroska stores none, and libav knows those of the first frames only after it has determined
    their reordering.
    """
    facts = source.facts
    step = max(1, round(facts.frame_seconds / facts.time_base))
    waiting: list[tuple[Any, int]] = []
    keys: _Keys | None = None
    for packet, pts, dts in packets:
        keys = keys or _Keys(packet.stream.codec_context)
        if dts is None and len(waiting) < _MAX_WITHOUT_DTS:
            waiting.append((packet, pts))
            continue
        known = pts if dts is None else dts
        for number, (earlier, shown) in enumerate(waiting):
            before = min(shown, known - step * (len(waiting) - number))
            yield keys.timed(earlier, shown, before, source)
        waiting.clear()
        yield keys.timed(packet, pts, known, source)
    for packet, pts in waiting:
        assert keys is not None
        yield keys.timed(packet, pts, pts, source)


class _Keys:
    """Determines whether decoding can begin with a packet."""

    def __init__(self, context: Any) -> None:
        self._classify: Classify | None = classifier(context)
        self._codec: str = context.codec.canonical_name

    def timed(self, packet: Any, pts: int, dts: int, source: Source) -> TimedPacket:
        time, decoded = source.facts.player_time(pts), source.facts.player_time(dts)
        if not packet.is_keyframe or packet.is_corrupt:
            return TimedPacket(packet, time, decoded, False, False)
        kind = self._classify(packet) if self._classify is not None else None
        restarts = kind is not None and kind.restart
        # An MP4 without a table of keyframes marks every packet as one. A recovery point of H.264
        # is a keyframe although its frame numbers continue those of earlier frames.
        begins = restarts or kind is None or _is_recovery_point(bytes(packet), self._codec)
        return TimedPacket(packet, time, decoded, begins, restarts)


def _is_recovery_point(data: bytes, codec: str) -> bool:
    """Return whether an H.264 packet contains a recovery point (SEI payload type 6)."""
    if codec != "h264":
        return False
    head = data[:4096]
    return any(head.find(bytes((0x06, 0x06, size))) >= 0 for size in (1, 2, 3))
