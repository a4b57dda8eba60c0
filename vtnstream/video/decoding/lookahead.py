"""Look ahead in the packets to decide which of them need not be decoded.

Packets state the display times of their frames before these are decoded. So it is known which
frames the sampling needs. Frames that are neither needed nor references of needed frames are left
out in two ways: single frames that no other frame depends on (``SKIP``, ``REMOVE``), and everything
between the last needed frame of a group of pictures and the next keyframe (``OMIT``).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from vtnstream.video.decoding.bitstream import Classify, PacketKind

_MAX_PACKETS = 1000
_MAX_BYTES = 16 << 20
"""Limits of the window; packets that are undecided within it are decoded."""

_LASTING = frozenset({"new_extradata", "palette", "param_change"})
"""Side data of one packet that also applies to all later packets."""

_CONTAINERS = 1 << 63
"""Bit for such side data in ``PacketKind.headers``; no bit stream uses it."""

FrameChoice = Callable[[int, int | None], bool]
"""(pts of a frame, pts of the next frame or None at the end) -> whether the sampling may need it.
Called once per frame in presentation order."""


class SkippingUnsafeError(Exception):
    """The file does not match the plan: all of its frames must be decoded."""


class Action(Enum):
    """Treatment of a packet."""

    DECODE = "decode"
    SKIP = "skip"
    """Pass it to the decoder, which skips its frame."""
    REMOVE = "remove"
    """Do not pass it to the decoder, which continues with the next one."""
    OMIT = "omit"
    """Do not pass it, nor any packet up to the next keyframe, to the decoder."""


@dataclass(slots=True)
class PlannedPacket:
    """A packet in the window; ``needed`` says whether its frame is needed, None if undecided."""

    packet: Any
    pts: int
    dts: int | None
    kind: PacketKind
    presented: bool
    needed: bool | None = None


class SkipPlanner:
    """Plans the decoding of packets in a bounded window.

    Args:
        packets: in decoding order.
        classify: returns the kind of a packet.
        choice: selects the frames to decode.
        after_seek: whether the first packet follows a seek.
        decode_last: whether the last packet is decoded in any case: if a file was cut, only this
            reveals it where the container does not state the sizes of packets beforehand. If it
            is not, the choice gets the end of the last frame in place of None, if it is stored.

    Attributes:
        may_skip: set by the decoder once the first frames have come out as expected; until then all
            packets are decoded.
    """

    def __init__(
        self,
        packets: Iterator[Any],
        classify: Classify,
        choice: FrameChoice,
        *,
        after_seek: bool,
        decode_last: bool = True,
    ) -> None:
        self.may_skip = False
        self._decode_last = decode_last
        self._packets = packets
        self._classify = classify
        self._choice = choice
        self._window: deque[PlannedPacket] = deque()
        self._bytes = 0
        self._taken = 0
        self._ended = False
        self._last_dts: int | None = None
        # In presentation order: packets of uncertain position, and the last certain one.
        self._unsettled: list[tuple[int, int, PlannedPacket]] = []
        self._latest: PlannedPacket | None = None
        # In decoding order: whether packets were omitted; pts before which frames lack references;
        # number of the packet up to which a needed frame is known to follow.
        self._interrupted = False
        self._leading_until: int | None = None
        self._needed_until = -1
        # After a seek, frames before the keyframe lack their references.
        head = self._at(0) if after_seek else None
        if head is not None and head.kind.restart:
            self._leading_until = head.pts

    def steps(self) -> Iterator[tuple[PlannedPacket, Action]]:
        """Yield each packet in decoding order with its action.

        Raises:
            SkippingUnsafeError: the packets have missing or inconsistent times, or are damaged.
        """
        while (head := self._at(0)) is not None:
            action = self._action(head)
            self._window.popleft()
            self._bytes -= head.packet.size
            self._taken += 1
            self._last_dts = head.dts
            yield head, action

    @property
    def interrupted(self) -> bool:
        """Whether the last packets were omitted, so that the decoder restarts at the next one."""
        return self._interrupted

    def _action(self, head: PlannedPacket) -> Action:
        needed = self._is_needed(head)
        if self._interrupted and head.kind.restart and (needed or not self._can_omit()):
            self._interrupted, self._leading_until = False, head.pts
            return Action.DECODE
        if self._interrupted or self._leads(head):
            return Action.OMIT
        if needed or not self.may_skip:
            return Action.DECODE
        if self._can_omit():
            self._interrupted = True
            return Action.OMIT
        if head.kind.removable:
            return Action.REMOVE
        return Action.SKIP if head.kind.disposable else Action.DECODE

    def _leads(self, head: PlannedPacket) -> bool:
        """Return whether a frame precedes the keyframe at which decoding began: it may lack
        references."""
        return self._leading_until is not None and head.pts < self._leading_until

    # -------------------------------------------------------------------- decoding order

    def _can_omit(self) -> bool:
        """Return whether no frame from the head to the next keyframe is needed, including the
        leading frames of that keyframe."""
        if self._taken < self._needed_until:
            return False
        place, headers, restart = 0, 0, None
        while (entry := self._at(place)) is not None:
            if place and restart is None and entry.kind.restart:
                restart = entry
                if headers & ~entry.kind.headers:
                    break  # omitting would lose parameter sets
            elif self._is_needed(entry) and (restart is None or entry.pts < restart.pts):
                break
            elif restart is None:
                headers |= entry.kind.headers
            if restart and entry.dts is not None and entry.dts >= restart.pts:
                return True
            place += 1
        else:
            if self._ended:
                return True
        self._needed_until = self._taken + place
        return False

    def _at(self, place: int) -> PlannedPacket | None:
        """Return the packet at a position of the window, or None after its end or limits."""
        while len(self._window) <= place:
            if not self._read():
                return None
        return self._window[place]

    def _read(self) -> bool:
        full = len(self._window) >= _MAX_PACKETS or self._bytes >= _MAX_BYTES
        if self._ended or (full and self._window):
            return False
        packet = next(self._packets, None)
        if packet is None:
            self._ended = True
            self._settle(None)
            return False
        self._admit(packet)
        return True

    def _admit(self, packet: Any) -> None:
        kind = self._classify(packet)
        if packet.pts is None or packet.is_corrupt or kind is None:
            raise SkippingUnsafeError("a packet without time, or damaged")
        if packet.dts is not None and packet.dts > packet.pts:
            raise SkippingUnsafeError("a packet whose decoding time is after its presentation time")
        last = self._window[-1].dts if self._window else self._last_dts
        if packet.is_discard and None not in (last, packet.dts) and packet.dts < last:
            # The next edit begins elsewhere; frames that lead up to it have earlier times.
            raise SkippingUnsafeError("an edit list of several edits")
        if any(data.data_type in _LASTING for data in packet.iter_sidedata()):
            kind = replace(kind, headers=kind.headers | _CONTAINERS)
        presented = kind.shown and not packet.is_discard
        entry = PlannedPacket(packet, packet.pts, packet.dts, kind, presented)
        self._window.append(entry)
        self._bytes += packet.size
        if presented:
            if self._latest is not None and entry.pts <= self._latest.pts:
                raise SkippingUnsafeError("packets out of order")
            heapq.heappush(self._unsettled, (entry.pts, id(entry), entry))
        else:
            entry.needed = False
        if entry.dts is not None:
            self._settle(entry.dts)

    # ---------------------------------------------------------------- presentation order

    def _settle(self, horizon: int | None) -> None:
        """Decide about frames whose successor is certain: no later packet is displayed before
        ``horizon``, its decoding time. None is the end of the file."""
        while self._unsettled and (horizon is None or self._unsettled[0][0] < horizon):
            entry = heapq.heappop(self._unsettled)[2]
            if self._latest is not None:
                if entry.pts <= self._latest.pts:
                    raise SkippingUnsafeError("two frames at one time")
                self._latest.needed = self._choice(self._latest.pts, entry.pts)
            self._latest = entry
        if horizon is None and self._latest is not None:
            last, duration = self._latest, self._latest.packet.duration
            ends = duration and not self._decode_last
            needed = self._choice(last.pts, last.pts + duration if ends else None)
            last.needed = needed or self._decode_last
            if self._window and self._decode_last:
                self._window[-1].needed = True

    def _is_needed(self, entry: PlannedPacket) -> bool:
        while entry.needed is None:
            if not self._read():
                return entry.needed is not False
        return entry.needed
