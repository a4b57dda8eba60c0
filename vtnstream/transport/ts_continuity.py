"""Continuity counters of MPEG transport streams over the borders of segments.

Each packet of a stream has a counter of 4 bits (ISO/IEC 13818-1 2.4.3.3). Segments that were
written apart from each other begin with counters of their own; put one after the other, they look
as if packets were lost at each border.
"""

from __future__ import annotations

_PACKET = 188
_SYNC = 0x47
_NULL_PID = 0x1FFF


class Continuity:
    """Makes the counters of a segment go on from those of the one before. What is lost inside a
    segment stays visible."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._shift: dict[int, int] = {}
        self._rest = b""
        self._is_ts = False

    def begin(self) -> None:
        """A segment begins."""
        self._shift.clear()
        self._rest, self._is_ts = b"", True

    def take(self, data: bytes) -> bytes:
        """The next bytes of the segment, as far as packets are whole."""
        if not self._is_ts:
            return data
        data = self._rest + data
        whole = len(data) - len(data) % _PACKET
        if any(data[place] != _SYNC for place in range(0, whole, _PACKET)):
            self._is_ts, self._rest = False, b""
            return data
        self._rest = data[whole:]
        changed = bytearray(data[:whole])
        for place in range(0, whole, _PACKET):
            self._continue(changed, place)
        return bytes(changed)

    def end(self) -> bytes:
        """What is left of the segment."""
        rest, self._rest = self._rest, b""
        return rest

    def _continue(self, data: bytearray, place: int) -> None:
        pid = (data[place + 1] & 0x1F) << 8 | data[place + 2]
        if pid == _NULL_PID:
            return
        control = data[place + 3]
        counter, has_payload = control & 15, bool(control & 0x10)
        shift = self._shift.get(pid)
        if shift is None:
            last = self._last.get(pid)
            shift = 0 if last is None else (last + has_payload - counter) & 15
            self._shift[pid] = shift
        counter = (counter + shift) & 15
        data[place + 3] = control & 0xF0 | counter
        self._last[pid] = counter
