"""From timestamps as files have them to one monotone timeline in player time."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from vtnstream.timecode import format_time
from vtnstream.video.probe import StreamFacts

_WRAP = 1 << 33
"""MPEG clocks have 33 bits: they start again after 26.5 hours."""

_JUMP_BACK = Fraction(1)
"""Seconds; a smaller step back is a frame out of order, not a new clock."""

_JUMP_AHEAD = Fraction(24 * 3600)
"""Seconds; a longer step ahead cannot be a hole in a recording: the clock jumped."""

_SHOWN_AGAIN = Fraction(2)
"""Seconds within which a stream is taken to go on with the clock it had before."""

_MAX_WARNINGS = 5


@dataclass(slots=True)
class FrameClock:
    """Places each decoded frame on the timeline.

    Presentation time is pts, else dts, else counted on at the usual rate; minus the start of
    the container. A 33-bit wrap is silent. A clock that jumps back by a second or more (a
    recorder restarted, files joined) is anchored anew where the last frame ended, with a
    warning; so is one that jumps ahead by a day. Frames whose time does not increase are left
    out.
    """

    facts: StreamFacts
    warnings: list[str] = field(default_factory=list)
    num_jumps: int = 0
    _offset: int = 0
    _other_offset: int | None = None
    _last: int | None = None
    _step: int = 0
    _counted: int = 0
    _warned_missing: bool = False

    def place(self, pts: int | None, dts: int | None) -> tuple[int, Fraction] | None:
        """Player time of the next frame in output order.

        Args:
            pts, dts: of the frame in ticks of the stream's time base.

        Returns:
            (timestamp in ticks as the file has it, exact player time in seconds), or None
            where the frame must be left out.
        """
        if self.facts.raw_rate is not None:
            time = self._counted / self.facts.raw_rate
            self._counted += 1
            return round(time / self.facts.time_base), time
        stamp = pts if pts is not None else dts
        if pts is None:
            self._warn_missing(dts is not None)
        if stamp is None:
            stamp = self._expected() - self._offset
        value = self._monotone(stamp + self._offset, from_pts=pts is not None)
        if value is None:
            return None
        if self._last is not None:
            self._step = value - self._last
        self._last = value
        return stamp, self.time_of(value)

    def time_of(self, value: int) -> Fraction:
        """Player time of a placed timestamp."""
        return value * self.facts.time_base - self.facts.start

    @property
    def usual_seconds(self) -> Fraction:
        """Duration of a frame that does not declare one: the last step, else the rate's."""
        step = self._step * self.facts.time_base
        return step if 0 < step <= 1 else self.facts.frame_seconds

    @property
    def offset(self) -> int:
        """Ticks added to the file's timestamps at present."""
        return self._offset

    def _expected(self) -> int:
        tick = self.facts.time_base
        if self._last is None:
            return round(self.facts.start / tick)
        return self._last + max(1, round(self.usual_seconds / tick))

    def _monotone(self, value: int, *, from_pts: bool) -> int | None:
        if self._last is None:
            return value
        value = self._unwrap(value)
        delta = (value - self._last) * self.facts.time_base
        if 0 < delta <= _SHOWN_AGAIN:
            return value
        if (again := self._on_other_clock(value)) is not None:
            return again
        if delta > _JUMP_AHEAD:
            return self._anchor(value, "ahead", delta)
        if delta > 0:
            return value
        if not from_pts:
            # A guessed time is no reason to lose a picture.
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
        """One stray timestamp must not move the rest: go back to the clock before it."""
        if self._other_offset is None or self._last is None:
            return None
        other = value - self._offset + self._other_offset
        if not 0 < (other - self._last) * self.facts.time_base <= _SHOWN_AGAIN:
            return None
        self._offset, self._other_offset = self._other_offset, self._offset
        return other

    def _anchor(self, value: int, direction: str, size: Fraction) -> int:
        assert self._last is not None
        target = self._expected()
        self.num_jumps += 1
        if self.num_jumps <= _MAX_WARNINGS:
            place = format_time(self.time_of(self._last), digits=2)
            self.warnings.append(
                f"the clock jumps {direction} by {format_time(size, digits=2)} at {place}: "
                "times go on from there"
            )
        self._other_offset = self._offset
        self._offset += target - value
        return target

    def _warn_missing(self, has_dts: bool) -> None:
        if self._warned_missing:
            return
        self._warned_missing = True
        instead = "decoding times were taken" if has_dts else "times were counted on from the rate"
        self.warnings.append(f"frames without presentation times: {instead}")
