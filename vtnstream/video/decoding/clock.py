"""Turn the timestamps of a file into one monotone timeline in player time."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

from vtnstream.timecode import format_time
from vtnstream.video.probe import StreamFacts

_WRAP = 1 << 33
"""MPEG clocks have 33 bits and wrap after 26.5 hours."""

_JUMP_BACK = Fraction(1)
"""Seconds; a smaller step back means a frame out of order, not a new clock."""

_JUMP_AHEAD = Fraction(24 * 3600)
"""Seconds; a longer step ahead means that the clock jumped, not that frames are missing."""

_SAME_CLOCK = Fraction(2)
"""Seconds within which a timestamp is taken to continue the clock before a jump."""

LONG_DURATION = Fraction(1)
"""Seconds; longer frame durations are checked against neighbouring packets."""

_MAX_WARNINGS = 5


@dataclass(frozen=True, slots=True)
class FrameTime:
    """The time of a frame. It is kept in whole ticks; exact seconds are computed on demand, because
    most frames do not need them.

    Attributes:
        pts: timestamp in ticks as stored in the file.
        tick: ticks of the timeline, increasing from frame to frame.
        facts: time properties of the stream.
        declared: duration in ticks as stored in the file, 0 if none is stored.
        step: ticks since the previous frame, 0 if unknown.
    """

    pts: int
    tick: int
    facts: StreamFacts
    declared: int = 0
    step: int = 0

    @property
    def time(self) -> Fraction:
        """Player time."""
        return self.facts.time_of(self.tick)

    @property
    def duration(self) -> Fraction:
        """Stored duration in seconds; 0 if none is stored."""
        return self.declared * self.facts.time_base

    @property
    def end(self) -> Fraction:
        """End of the frame if no other frame follows."""
        time, declared = self.time, self.duration
        usual = _usual_seconds(self.facts, self.step)
        if not declared:
            return time + usual
        header_end = self.facts.header_end
        if declared > LONG_DURATION and header_end is not None and time < header_end:
            # Durations are stored in decoding order, so this may be that of a neighbour.
            return min(time + declared, max(header_end, time + usual))
        return time + declared


def _usual_seconds(facts: StreamFacts, step: int) -> Fraction:
    """Return the duration of a frame without a stored duration: the last step, or that of the frame
    rate."""
    seconds = step * facts.time_base
    return seconds if 0 < seconds <= 1 else facts.frame_seconds


@dataclass(slots=True)
class FrameClock:
    """Assigns a time on the timeline to each decoded frame.

    The presentation time is pts, or dts, or the previous time plus the usual duration; minus the
    start of the container. A 33-bit wrap is corrected silently. If the clock jumps back by a second
    or more (a restarted recorder, joined files) or ahead by a day, time continues at the end of the
    last frame, with a warning. Frames whose time does not increase are dropped.
    """

    facts: StreamFacts
    warnings: list[str] = field(default_factory=list)
    num_jumps: int = 0
    _same_clock_ticks: int = field(init=False)
    _offset: int = 0
    _other_offset: int | None = None
    _last: int | None = None
    _step: int = 0
    _counted: int = 0
    _warned_missing: bool = False

    def __post_init__(self) -> None:
        self._same_clock_ticks = floor(_SAME_CLOCK / self.facts.time_base)

    def place(self, pts: int | None, dts: int | None, duration: int = 0) -> FrameTime | None:
        """Return the time of the next frame in output order.

        Args:
            pts, dts: timestamps of the frame in ticks of the stream's time base.
            duration: its duration in ticks, 0 if unknown.

        Returns:
            None if the frame must be dropped.
        """
        facts = self.facts
        declared = duration if facts.declared else 0
        if facts.raw_rate is not None:
            number = self._counted
            self._counted += 1
            return FrameTime(
                round(facts.time_of(number) / facts.time_base), number, facts, declared
            )
        stamp = pts if pts is not None else dts
        if pts is None:
            self._warn_missing(dts is not None)
        if stamp is None:
            stamp = self._expected() - self._offset
        tick = self._monotone(stamp + self._offset, from_pts=pts is not None)
        if tick is None:
            return None
        if self._last is not None:
            self._step = tick - self._last
        self._last = tick
        return FrameTime(stamp, tick, facts, declared, self._step)

    @property
    def offset(self) -> int:
        """Ticks that are currently added to the timestamps of the file."""
        return self._offset

    def join(self, stamp: int) -> None:
        """Let timestamps from ``stamp`` on follow the last frame: a new clock begins by the
        statement of the source, so there is no warning."""
        if self._last is not None:
            self._offset = self._expected() - stamp
        self._other_offset = None

    def _expected(self) -> int:
        tick = self.facts.time_base
        if self._last is None:
            return round(self.facts.start / tick)
        return self._last + max(1, round(_usual_seconds(self.facts, self._step) / tick))

    def _monotone(self, value: int, *, from_pts: bool) -> int | None:
        if self._last is None:
            return value
        value = self._unwrap(value)
        if 0 < value - self._last <= self._same_clock_ticks:
            return value
        delta = (value - self._last) * self.facts.time_base
        if (again := self._on_other_clock(value)) is not None:
            return again
        if delta > _JUMP_AHEAD:
            return self._anchor(value, "ahead", delta)
        if delta > 0:
            return value
        if not from_pts:
            # The time is a guess, so the frame is not dropped.
            return self._expected()
        return self._anchor(value, "back", -delta) if -delta >= _JUMP_BACK else None

    def _unwrap(self, value: int) -> int:
        assert self._last is not None
        if not self.facts.wraps or abs(value - self._last) < _WRAP // 2:
            return value
        turn = _WRAP if value < self._last else -_WRAP
        if value + turn <= self._last and turn < 0:
            return value
        self._offset += turn
        return value + turn

    def _on_other_clock(self, value: int) -> int | None:
        """After one wrong timestamp, return to the clock before it."""
        if self._other_offset is None or self._last is None:
            return None
        other = value - self._offset + self._other_offset
        if not 0 < (other - self._last) * self.facts.time_base <= _SAME_CLOCK:
            return None
        self._offset, self._other_offset = self._other_offset, self._offset
        return other

    def _anchor(self, value: int, direction: str, size: Fraction) -> int:
        assert self._last is not None
        target = self._expected()
        self.num_jumps += 1
        if self.num_jumps <= _MAX_WARNINGS:
            place = format_time(self.facts.time_of(self._last), digits=2)
            self.warnings.append(
                f"the clock jumps {direction} by {format_time(size, digits=2)} at {place}: "
                "times continue from there"
            )
        self._other_offset = self._offset
        self._offset += target - value
        return target

    def _warn_missing(self, has_dts: bool) -> None:
        if self._warned_missing:
            return
        self._warned_missing = True
        instead = "decoding times were used" if has_dts else "times were computed from the rate"
        self.warnings.append(f"frames without presentation times: {instead}")
