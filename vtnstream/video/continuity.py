"""Which stretches of a stream hang together: declared durations, damage, missing packets."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from vtnstream.video.clock import FrameClock
from vtnstream.video.probe import StreamFacts

HOLDS_LONG = Fraction(1)
"""Seconds from which a packet's own duration matters to its neighbours."""

_DAMAGE_NEAR = Fraction(1)
"""Seconds by which the timestamp of a damaged packet may miss the frames it spoils."""


@dataclass(slots=True)
class Continuity:
    """Remembers of the packets just read what the gap rule asks for; memory is bounded.

    Attributes:
        packets_end: player time at which the packets read so far end, where that is followed.
        last_time: player time of the last packet.
    """

    facts: StreamFacts
    clock: FrameClock
    keyframes_only: bool
    packets_end: Fraction | None = None
    last_time: Fraction = Fraction(0)
    _long_holds: deque[tuple[Fraction, Fraction]] = field(default_factory=lambda: deque(maxlen=64))
    _damage: deque[Fraction] = field(default_factory=lambda: deque(maxlen=256))

    def note(self, packet: Any) -> None:
        """A packet was read."""
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None:
            self.last_time = self._time(stamp)
        if packet.is_corrupt:
            self.note_damage()
        if self.facts.declared and stamp is not None and packet.duration:
            # In decoding order a duration stands at the decoding time.
            start = self._time(packet.dts if packet.dts is not None else packet.pts)
            self._note_span(start, packet.duration * self.facts.time_base)

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
        ends = [end for start, end in self._long_holds if start <= time < end]
        return max([time + duration, *ends])

    def was_damaged_between(self, start: Fraction, end: Fraction) -> bool:
        """Packets were corrupt or lost around this span."""
        return any(start - _DAMAGE_NEAR <= time <= end + _DAMAGE_NEAR for time in self._damage)

    def _note_span(self, start: Fraction, seconds: Fraction) -> None:
        if seconds >= HOLDS_LONG:
            self._long_holds.append((start, start + seconds))
        patience = self.facts.frame_seconds / 2
        if self.keyframes_only and not self.facts.chained:
            patience = max(HOLDS_LONG, 5 * self.facts.frame_seconds)
        elif not self.facts.chained:
            return
        if self.packets_end is not None and start - self.packets_end > patience:
            # A fragment, or a stretch of packets, is missing here.
            self._damage += (self.packets_end, start)
        self.packets_end = max(start + seconds, self.packets_end or start)

    def _time(self, stamp: int) -> Fraction:
        return self.clock.time_of(stamp + self.clock.offset)
