"""Write parts as packets of the source: fast, but from the keyframe at or before their starts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import av
import av.error

from vtnstream.types import TimeRange
from vtnstream.video.cutting.packet_parts import PacketParts, TimedPacket, UncopyableError

_NUM_DELAYED = 40
"""Number of packets that are delayed, so that the last displayed frame of a part, wherever it is in
decoding order, can be extended to the end; more than any codec reorders."""

_MAX_OVERHANG = Fraction(1, 20)


HIDE, DROP, EXTEND = "hide", "drop", "extend"
"""Treatment of frames after the end of a part from which frames before the end are predicted: they
are kept but not displayed, they are dropped with the frames that need them, or the part is
extended."""


@dataclass(slots=True)
class PartEnd:
    """Filters the packets of one part: those of frames at or after its end are removed if possible.

    Attributes:
        end: player time in seconds; later than requested if the part was extended.
        slack: tolerance of times in seconds.
        manner: ``hide``, ``drop`` or ``extend``.
        num_lost: number of frames before the end that were dropped.
        num_hidden: number of frames at or after the end that were kept.
        following: player time of the first frame after the part, if known.
    """

    end: Fraction
    slack: Fraction
    manner: str
    num_lost: int = 0
    num_hidden: int = 0
    following: Fraction | None = None

    def packets(self, found: Iterator[TimedPacket]) -> Iterator[tuple[TimedPacket, bool]]:
        """Yield each packet of the part, and whether its frame must be hidden."""
        base: Fraction | None = None
        behind: list[TimedPacket] = []
        for packet in found:
            if packet.decoded >= self.end - self.slack:
                self._note_following(packet)
                break
            base = packet.time if base is None else base
            if packet.time < base:
                continue  # a leading frame of an open group: its references are missing
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
        """Yield the packets after the end from which the next packet is predicted."""
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
    """Writes packets of several parts to one output stream, one part after the other.

    Attributes:
        out: ``av.container.OutputContainer``.
        stream: stream of ``out``.
        seconds: duration of the video written so far.
        lead: seconds between decoding and presentation time of the first packet.
    """

    out: Any
    stream: Any
    seconds: Fraction = Fraction(0)
    lead: Fraction = Fraction(0)
    _newest: Fraction | None = None
    """Decoding time of the last packet. Packets differ in their time base: those that an earlier
    part has used are in the base of its output."""
    _held: deque[tuple[Any, Fraction, bool]] = field(default_factory=deque)

    def add(self, packet: Any, time: Fraction, decoded: Fraction, *, hidden: bool = False) -> None:
        """Add a packet whose frame is displayed at ``time`` seconds of the output.

        Args:
            packet: ``av.Packet``; its times are replaced.
            time: presentation time in seconds of the output.
            decoded: decoding time in seconds of the output.
            hidden: whether the frame must not be displayed.

        Raises:
            UncopyableError: a decoding time would be after the presentation time.
        """
        base = packet.time_base
        if self._newest is None:
            self.lead = time - decoded
        packet.pts, packet.dts = round(time / base), round(decoded / base)
        if self._newest is not None and packet.dts * base <= self._newest:
            packet.dts = floor(self._newest / base) + 1
        if packet.dts > packet.pts:
            raise UncopyableError("its decoding times do not increase")
        self._newest = packet.dts * base
        packet.stream = self.stream
        self._held.append((packet, time, hidden))
        if len(self._held) > _NUM_DELAYED:
            self._shorten(*self._held[0])
            self._mux(self._held.popleft()[0])

    def end_part(self, seconds: Fraction) -> None:
        """End a part at ``seconds`` of the output; the last frame is displayed until then."""
        shown = [item for item in self._held if not item[2]]
        for item in shown:
            self._shorten(*item)
        if shown:
            packet, time, _ = max(shown, key=lambda item: item[1])
            packet.duration = max(1, round((seconds - time) / packet.time_base))
            # MP4 adds durations in decoding order, so the last packet must reach the end.
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

    def _shorten(self, packet: Any, time: Fraction, hidden: bool) -> None:
        """Let a frame end where the next one starts. MP4 stores durations in decoding order; with
        B-frames the muxer would take a long one for the end of the video."""
        following = min((t for _, t, other in self._held if t > time and not other), default=None)
        if following is not None and packet.duration and not hidden:
            longest = max(1, round((following - time) / packet.time_base))
            packet.duration = min(packet.duration, longest)

    def _mux(self, packet: Any) -> None:
        self.out.mux_one(packet)


def merged(parts: Sequence[TimeRange], packets: PacketParts) -> list[TimeRange]:
    """Merge a part with the previous one if its keyframe lies in that, so that no frame is
    repeated.

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
    """Return the player time until which the last frame of a part is displayed.

    It is the frame's own end if that is near the end of the part, which keeps the frame rate
    constant.
    """
    own = end.following if end.following is not None and not end.num_lost else None
    if own is None:
        own = last.time + (last.length or frame_seconds)
    return own if own - end.end <= min(frame_seconds, _MAX_OVERHANG) else end.end


def has_frame(path: Path) -> bool:
    """Return whether at least one frame of the first video stream can be decoded. Reading stops at
    that frame."""
    with av.open(path) as container:
        for packet in container.demux(video=0):
            with suppress(av.error.FFmpegError):
                if packet.decode():
                    return True
    return False
