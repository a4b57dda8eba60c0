"""Counting frames by demuxing alone, because headers lie: what uniform sampling needs, and
whoever begins in the middle of a film whose frames are counted."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtnstream.errors import VideoDecodeError
from vtnstream.types import TimeRange
from vtnstream.video.decoding.clock import FrameClock
from vtnstream.video.decoding.reader import FrameReader
from vtnstream.video.probe import StreamFacts
from vtnstream.video.sampling.samplers import PickedGrid


def picked_grid(reader: FrameReader, num_frames: int, span: TimeRange) -> PickedGrid:
    """The grid of ``num_frames`` frames of a range: ``floor(linspace(0, n - 1, num_frames))``
    of its n frames in presentation order.

    Memory: 8 bytes a frame.

    Raises:
        VideoDecodeError: the range holds no packet.
    """
    facts = reader.facts
    found = _packet_times(reader, span)
    ticks, last_duration = found.ticks, found.last_duration
    if not len(ticks):
        raise VideoDecodeError(
            f"{reader.video.path}: its video stream holds no frame"
            + ("" if span == TimeRange() else " in this range; choose another --start / --end")
        )
    picks = np.floor(np.linspace(0, len(ticks) - 1, num_frames)).astype(np.int64)
    kept, order = np.unique(picks, return_inverse=True)
    times = [facts.time_of(int(ticks[i])) for i in kept]
    # The last frame picked ends where the next frame starts.
    after = int(kept[-1]) + 1
    end = facts.time_of(int(ticks[after])) if after < len(ticks) else times[-1] + last_duration
    return PickedGrid(times, end, order.astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class FrameNumbers:
    """Which frame of a range is shown when, as far as packets tell (sampling kind ``all``):
    damage and gaps are not in it, so what it says holds once a decoded neighbour agrees.

    Attributes:
        facts: of the stream.
        ticks: when each frame of the range is shown, increasing.
        keyframes: numbers of those that the container calls keyframes, increasing.
    """

    facts: StreamFacts
    ticks: NDArray[np.int64]
    keyframes: NDArray[np.int64]

    @classmethod
    def of(cls, reader: FrameReader, span: TimeRange) -> FrameNumbers:
        """By reading all packets. Memory: 8 bytes a frame.

        Raises:
            VideoDecodeError: the operating system cannot read the file.
        """
        found = _packet_times(reader, span)
        keyframes = np.flatnonzero(np.isin(found.ticks, found.key_ticks))
        return cls(reader.facts, found.ticks, keyframes)

    def has(self, index: int) -> bool:
        return 0 <= index < len(self.ticks)

    def due(self, index: int) -> Fraction:
        return self.facts.time_of(int(self.ticks[index]))

    def first_due(self, time: Fraction) -> int:
        return int(np.searchsorted(self.ticks, self.facts.first_tick(time)))

    def last_keyframe(self, index: int) -> int:
        """The last keyframe at or before a frame, 0 where there is none."""
        place = int(np.searchsorted(self.keyframes, index, side="right"))
        return int(self.keyframes[place - 1]) if place else 0


@dataclass(frozen=True, slots=True, eq=False)
class _PacketTimes:
    """Of the packets in a range.

    Attributes:
        ticks: sorted timestamps, each once (frame numbers for streams without times).
        key_ticks: those of keyframes.
        last_duration: of the last, in seconds.
    """

    ticks: NDArray[np.int64]
    key_ticks: NDArray[np.int64]
    last_duration: Fraction


def _packet_times(reader: FrameReader, span: TimeRange) -> _PacketTimes:
    facts = reader.facts
    clock = FrameClock(facts)
    ticks, key_ticks = array("q"), array("q")
    newest, last_duration = -1, facts.frame_seconds
    for packet in reader.packets():
        if packet.is_discard:
            continue
        tick = _tick(packet, clock, facts, len(ticks))
        ticks.append(tick)
        if packet.is_keyframe:
            key_ticks.append(tick)
        if tick >= newest:
            newest = tick
            if facts.declared and packet.duration:
                last_duration = packet.duration * facts.time_base
    found, keys = np.unique(np.array(ticks, np.int64)), np.array(key_ticks, np.int64)
    if span == TimeRange():
        return _PacketTimes(found, keys, last_duration)
    first = np.searchsorted(found, facts.first_tick(span.start))
    stop = None if span.end is None else np.searchsorted(found, facts.first_tick(span.end))
    return _PacketTimes(found[first:stop], keys, last_duration)


def _tick(packet: Any, clock: FrameClock, facts: StreamFacts, count: int) -> int:
    """Timestamp on the timeline that frames will be placed on."""
    if facts.raw_rate is not None:
        return count
    # Decoding times increase: they show where the clock wraps or jumps.
    placed = clock.place(packet.dts if packet.dts is not None else packet.pts, None)
    stamp = packet.pts if packet.pts is not None else packet.dts
    if stamp is None:
        stamp = placed.pts if placed else count
    return int(stamp) + clock.offset
