"""Adjust the continuity counters of MPEG transport streams at the boundaries of segments.

Each packet of a stream has a 4-bit counter (ISO/IEC 13818-1 2.4.3.3). Segments that were written
separately begin with unrelated counters; concatenated, they look as if packets were lost at each
boundary.
"""

from __future__ import annotations

_PACKET = 188
_SYNC = 0x47
_NULL_PID = 0x1FFF


class Continuity:
    """Continues the counters of the previous segment; losses inside a segment stay visible."""

    def __init__(self) -> None:
        self._last: dict[int, int] = {}
        self._shift: dict[int, int] = {}
        self._rest = b""
        self._is_ts = False

    def begin(self) -> None:
        """Start a new segment."""
        self._shift.clear()
        self._rest, self._is_ts = b"", True

    def take(self, data: bytes) -> bytes:
        """Return the next bytes of the segment with adjusted counters, in whole packets."""
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
        """Return the remaining bytes of the segment, which do not fill a packet."""
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
