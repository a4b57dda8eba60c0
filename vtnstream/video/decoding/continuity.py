"""Which stretches of a stream hang together: declared durations, damage, missing packets."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

from vtnstream.video.decoding.clock import HOLDS_LONG, FrameClock
from vtnstream.video.probe import StreamFacts

_DAMAGE_NEAR = Fraction(1)
"""Seconds by which the timestamp of a damaged packet may miss the frames it spoils."""


@dataclass(slots=True)
class Continuity:
    """Remembers of the packets just read what the gap rule asks for; memory is bounded.

    Places are kept in ticks of the file and become seconds where somebody asks.
    """

    facts: StreamFacts
    clock: FrameClock
    keyframes_only: bool
    _patience: int | None = field(init=False)
    _holds_long: int = field(init=False)
    _last: int | None = None
    _packets_end: int | None = None
    _long_holds: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=64))
    _damage: deque[Fraction] = field(default_factory=lambda: deque(maxlen=256))

    def __post_init__(self) -> None:
        patience = None
        if self.facts.chained:
            patience = self.facts.frame_seconds / 2
        elif self.keyframes_only:
            patience = max(HOLDS_LONG, 5 * self.facts.frame_seconds)
        tick = self.facts.time_base
        self._patience = None if patience is None else floor(patience / tick)
        self._holds_long = ceil(HOLDS_LONG / tick)

    @property
    def packets_end(self) -> Fraction | None:
        """Player time at which the packets read so far end, where that is followed."""
        return None if self._packets_end is None else self.facts.player_time(self._packets_end)

    @property
    def last_time(self) -> Fraction:
        """Player time of the last packet."""
        return Fraction(0) if self._last is None else self.facts.player_time(self._last)

    def note(self, packet: Any) -> None:
        """A packet was read."""
        pts, dts, offset = packet.pts, packet.dts, self.clock.offset
        stamp = pts if pts is not None else dts
        if stamp is not None:
            self._last = stamp + offset
        if packet.is_corrupt:
            self.note_damage()
        if self.facts.declared and stamp is not None and packet.duration:
            # In decoding order a duration stands at the decoding time.
            self._note_span((dts if dts is not None else stamp) + offset, packet.duration)

    def note_damage(self, time: Fraction | None = None) -> None:
        """Something was corrupt or lost, at the last packet if not said otherwise."""
        self._damage.append(self.last_time if time is None else time)

    def forget_damage(self) -> None:
        """What was met so far does not count (pictures before the landing of a seek)."""
        self._damage.clear()

    @property
    def is_damaged(self) -> bool:
        """Something was corrupt or lost so far."""
        return bool(self._damage)

    def declared_until(self, time: Fraction, duration: Fraction) -> Fraction:
        """Player time up to which the file itself says that a frame stays on screen."""
        of = self.facts.player_time
        ends = [of(end) for start, end in self._long_holds if of(start) <= time < of(end)]
        return max([time + duration, *ends])

    def was_damaged_between(self, start: Fraction, end: Fraction) -> bool:
        """Packets were corrupt or lost around this span."""
        return any(start - _DAMAGE_NEAR <= time <= end + _DAMAGE_NEAR for time in self._damage)

    def _note_span(self, start: int, duration: int) -> None:
        if duration >= self._holds_long:
            self._long_holds.append((start, start + duration))
        if self._patience is None:
            return
        end = self._packets_end
        if end is not None and start - end > self._patience:
            # A fragment, or a stretch of packets, is missing here.
            self._damage += (self.facts.player_time(end), self.facts.player_time(start))
        self._packets_end = start + duration if end is None else max(start + duration, end)
