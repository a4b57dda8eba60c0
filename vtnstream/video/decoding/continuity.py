"""Detect interruptions of a stream from stored durations, damage and missing packets."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

from vtnstream.video.decoding.clock import LONG_DURATION, FrameClock
from vtnstream.video.probe import StreamFacts

_DAMAGE_NEAR = Fraction(1)
"""Seconds by which the timestamp of a damaged packet may differ from the frames it affects."""


@dataclass(slots=True)
class Continuity:
    """Records durations and damage of the last packets, to detect gaps; memory is bounded.

    Times are kept in ticks of the file and converted to seconds on demand.
    """

    facts: StreamFacts
    clock: FrameClock
    keyframes_only: bool
    _max_gap: int | None = field(init=False)
    _long_ticks: int = field(init=False)
    _last: int | None = None
    _packets_end: int | None = None
    _long_durations: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=64))
    _damage: deque[Fraction] = field(default_factory=lambda: deque(maxlen=256))

    def __post_init__(self) -> None:
        max_gap = None
        if self.facts.contiguous:
            max_gap = self.facts.frame_seconds / 2
        elif self.keyframes_only:
            max_gap = max(LONG_DURATION, 5 * self.facts.frame_seconds)
        tick = self.facts.time_base
        self._max_gap = None if max_gap is None else floor(max_gap / tick)
        self._long_ticks = ceil(LONG_DURATION / tick)

    @property
    def packets_end(self) -> Fraction | None:
        """Player time at which the packets read so far end, or None if it is not recorded."""
        return None if self._packets_end is None else self.facts.player_time(self._packets_end)

    @property
    def last_time(self) -> Fraction:
        """Player time of the last packet."""
        return Fraction(0) if self._last is None else self.facts.player_time(self._last)

    def note(self, packet: Any) -> None:
        """Record a packet that was read."""
        pts, dts, offset = packet.pts, packet.dts, self.clock.offset
        stamp = pts if pts is not None else dts
        if stamp is not None:
            self._last = stamp + offset
        if packet.is_corrupt:
            self.note_damage()
        if self.facts.declared and stamp is not None and packet.duration:
            # Durations are stored in decoding order, so they start at the decoding time.
            self._note_span((dts if dts is not None else stamp) + offset, packet.duration)

    def note_damage(self, time: Fraction | None = None) -> None:
        """Record damage or loss at ``time``, by default at the last packet."""
        self._damage.append(self.last_time if time is None else time)

    def forget_damage(self) -> None:
        """Discard the recorded damage (of frames before the target of a seek)."""
        self._damage.clear()

    @property
    def is_damaged(self) -> bool:
        """Whether damage or loss was recorded."""
        return bool(self._damage)

    def declared_until(self, time: Fraction, duration: Fraction) -> Fraction:
        """Return the player time until which a frame is displayed according to stored durations."""
        of = self.facts.player_time
        ends = [of(end) for start, end in self._long_durations if of(start) <= time < of(end)]
        return max([time + duration, *ends])

    def was_damaged_between(self, start: Fraction, end: Fraction) -> bool:
        """Return whether packets in or near this interval were corrupt or lost."""
        return any(start - _DAMAGE_NEAR <= time <= end + _DAMAGE_NEAR for time in self._damage)

    def _note_span(self, start: int, duration: int) -> None:
        if duration >= self._long_ticks:
            self._long_durations.append((start, start + duration))
        if self._max_gap is None:
            return
        end = self._packets_end
        if end is not None and start - end > self._max_gap:
            # A fragment, or some packets, are missing here.
            self._damage += (self.facts.player_time(end), self.facts.player_time(start))
        self._packets_end = start + duration if end is None else max(start + duration, end)
