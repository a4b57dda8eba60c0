"""Parts as packets of the source: fast, from the keyframe at or before their starts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vtnstream.types import TimeRange
from vtnstream.video.cutting.packet_parts import PacketParts, TimedPacket, UncopyableError

_HELD_BACK = 40
"""Packets that wait so that the last frame of a part, wherever it stands in decoding order, can
be given the time up to the end; more than any codec reorders."""

_LONGEST_OVERHANG = Fraction(1, 20)


HIDE, DROP, EXTEND = "hide", "drop", "extend"
"""What becomes of a frame behind the end of a part that one before the end is decoded from: it
is kept and not shown, it is left out with those that need it, or the part ends behind it."""


@dataclass(slots=True)
class PartEnd:
    """Packets of one part without those of frames at or after its end.

    Attributes:
        end: player time in seconds; later than asked for where the part was extended.
        slack: seconds by which times may be off.
        manner: ``hide``, ``drop`` or ``extend``.
        num_lost: frames left out though they are shown before the end.
        num_hidden: frames that are kept though they are shown at or after the end.
        following: player time of the first frame that is not in the part, where one was met.
    """

    end: Fraction
    slack: Fraction
    manner: str
    num_lost: int = 0
    num_hidden: int = 0
    following: Fraction | None = None

    def packets(self, found: Iterator[TimedPacket]) -> Iterator[tuple[TimedPacket, bool]]:
        """Each packet, and whether its frame is to be hidden."""
        base: Fraction | None = None
        behind: list[TimedPacket] = []
        for packet in found:
            if packet.decoded >= self.end - self.slack:
                self._note_following(packet)
                break
            base = packet.time if base is None else base
            if packet.time < base:
                continue  # an open group: needs what precedes the keyframe
            if packet.time >= self.end - self.slack:
                behind.append(packet)
            elif behind and self.manner == DROP:
                self.num_lost += 1
            else:
                yield from self._needed(behind)
                behind.clear()
                yield packet, False
        for packet in behind:
            self._note_following(packet)

    def _needed(self, behind: list[TimedPacket]) -> Iterator[tuple[TimedPacket, bool]]:
        """Packets behind the end that the next one is decoded from."""
        if self.manner == HIDE:
            self.num_hidden += len(behind)
        elif behind:
            self.end = max(self.end, max(p.time for p in behind) + 2 * self.slack)
        for packet in behind:
            if self.manner == HIDE:
                self._note_following(packet)
            yield packet, self.manner == HIDE

    def _note_following(self, packet: TimedPacket) -> None:
        if packet.time >= self.end - self.slack and (
            self.following is None or packet.time < self.following
        ):
            self.following = packet.time


@dataclass(slots=True)
class PacketWriter:
    """Puts packets of parts into one stream of the output, one part after the other.

    Attributes:
        out: ``av.container.OutputContainer``.
        stream: of ``out``.
        seconds: of video written.
        lead: seconds by which the first packet is decoded before its frame is shown.
    """

    out: Any
    stream: Any
    seconds: Fraction = Fraction(0)
    lead: Fraction = Fraction(0)
    _newest: int | None = None
    _held: deque[tuple[Any, Fraction, bool]] = field(default_factory=deque)

    def add(self, packet: Any, time: Fraction, decoded: Fraction, *, hidden: bool = False) -> None:
        """Take a packet whose frame is shown at ``time`` seconds of the output."""
        base = packet.time_base
        if self._newest is None:
            self.lead = time - decoded
        packet.pts, packet.dts = round(time / base), round(decoded / base)
        if self._newest is not None and packet.dts <= self._newest:
            packet.dts = self._newest + 1
        if packet.dts > packet.pts:
            raise UncopyableError("its decoding times do not increase")
        self._newest = packet.dts
        packet.stream = self.stream
        self._held.append((packet, time, hidden))
        if len(self._held) > _HELD_BACK:
            self._mux(self._held.popleft()[0])

    def end_part(self, seconds: Fraction) -> None:
        """The frames so far fill ``seconds`` of the output: the last one lasts so long."""
        shown = [item for item in self._held if not item[2]]
        if shown:
            packet, time, _ = max(shown, key=lambda item: item[1])
            packet.duration = max(1, round((seconds - time) / packet.time_base))
            # MP4 sums up durations in decoding order: the last packet there reaches to the end.
            packet, _, hidden = self._held[-1]
            reach = round((seconds - self.lead) / packet.time_base) - packet.dts
            if not hidden and packet.pts + reach <= round(seconds / packet.time_base):
                packet.duration = max(packet.duration or 1, reach)
        for packet, _, hidden in self._held:
            if hidden:
                packet.pts, packet.duration = round(seconds / packet.time_base), 0
            self._mux(packet)
        self._held.clear()
        self.seconds = seconds

    def _mux(self, packet: Any) -> None:
        self.out.mux_one(packet)


def merged(parts: Sequence[TimeRange], packets: PacketParts) -> list[TimeRange]:
    """Parts as they can be copied: one whose keyframe lies in the part before goes on with it,
    so that nothing is shown twice.

    Raises:
        UncopyableError: packets have no times.
    """
    found: list[TimeRange] = []
    for part in parts:
        last = found[-1] if found else None
        key = packets.key_time(part.start) if last is not None else None
        if last is None or last.end is None or key is None:
            found.append(part)
        elif key < last.end - packets.source.tolerance:
            found[-1] = TimeRange(last.start, part.end)
        else:
            found.append(part)
    return found


def shown_until(end: PartEnd, last: TimedPacket, frame_seconds: Fraction) -> Fraction:
    """Player time up to which the last frame of a part is shown: its own end where that is near
    the end of the part, so that frame rates stay constant."""
    own = end.following if end.following is not None and not end.num_lost else None
    if own is None:
        own = last.time + (last.length or frame_seconds)
    return own if own - end.end <= min(frame_seconds, _LONGEST_OVERHANG) else end.end
