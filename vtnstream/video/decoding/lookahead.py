"""Looking ahead in the packets: which of them must be decoded for the pictures to come.

Packets say when their pictures are shown long before these are decoded. So it is known in time
which pictures the sampling looks at; the others are left undecoded where nothing that is wanted
is predicted from them. Two ways: single pictures nothing depends on (``SKIP``), and everything
between the last wanted picture of a group and the next keyframe (``OMIT``).
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
"""How far to look; what is not decided within is decoded."""

_LASTING = frozenset({"new_extradata", "palette", "param_change"})
"""What a container hands the decoder with one packet, for all that follow."""

_CONTAINERS = 1 << 63
"""Marks it among the kinds of headers: no bit stream has one of this number."""

Choice = Callable[[int, int | None], bool]
"""(pts of a picture, pts of the next one or None at the end) -> the sampling may look at it.
Asked once for each picture in presentation order."""


class UnforeseenError(Exception):
    """Something does not fit what was planned on: this file must be decoded plainly."""


class Action(Enum):
    """What becomes of a packet."""

    DECODE = "decode"
    SKIP = "skip"
    """Hand it to the decoder as one whose picture is not wanted."""
    OMIT = "omit"
    """The decoder never sees it, nor anything up to the next keyframe."""


@dataclass(slots=True)
class Foreseen:
    """A packet on its way to the decoder; ``wanted`` is None until it is settled."""

    packet: Any
    pts: int
    dts: int | None
    kind: PacketKind
    presented: bool
    wanted: bool | None = None


class Foresight:
    """Plans over a bounded window of packets.

    Attributes:
        may_skip: set by the decoding side once pictures come out as they should; until then
            everything is decoded.
    """

    def __init__(
        self, packets: Iterator[Any], classify: Classify, choice: Choice, *, sought: bool
    ) -> None:
        self.may_skip = False
        self._packets = packets
        self._classify = classify
        self._choice = choice
        self._window: deque[Foreseen] = deque()
        self._bytes = 0
        self._taken = 0
        self._ended = False
        self._last_dts: int | None = None
        # Presentation order: packets whose place is not certain yet, and the last certain one.
        self._unsettled: list[tuple[int, int, Foreseen]] = []
        self._latest: Foreseen | None = None
        # Decoding order: the decoder lacks pictures; pictures before a keyframe lack references;
        # up to this packet (counted from the first) something wanted is known to follow.
        self._interrupted = False
        self._leading_until: int | None = None
        self._wanted_until = -1
        # Where reading begins in the middle, nothing is there to be predicted from.
        head = self._at(0) if sought else None
        if head is not None and head.kind.restart:
            self._leading_until = head.pts

    def steps(self) -> Iterator[tuple[Foreseen, Action]]:
        """Each packet in decoding order with what becomes of it.

        Raises:
            UnforeseenError: the packets cannot be relied on.
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
        """The decoder lacks what came last: it starts anew with the next packet it gets."""
        return self._interrupted

    def _action(self, head: Foreseen) -> Action:
        wanted = self._is_wanted(head)
        if self._interrupted and head.kind.restart and (wanted or not self._can_omit()):
            self._interrupted, self._leading_until = False, head.pts
            return Action.DECODE
        if self._interrupted or self._leads(head):
            return Action.OMIT
        if wanted or not self.may_skip:
            return Action.DECODE
        if self._can_omit():
            self._interrupted = True
            return Action.OMIT
        return Action.SKIP if head.kind.disposable else Action.DECODE

    def _leads(self, head: Foreseen) -> bool:
        """Shown before the keyframe at which decoding began: it may need what was before."""
        return self._leading_until is not None and head.pts < self._leading_until

    # -------------------------------------------------------------------- decoding order

    def _can_omit(self) -> bool:
        """Nothing from the head to the next keyframe is wanted, nor what leads up to that."""
        if self._taken < self._wanted_until:
            return False
        place, headers, restart = 0, 0, None
        while (entry := self._at(place)) is not None:
            if place and restart is None and entry.kind.restart:
                restart = entry
                if headers & ~entry.kind.headers:
                    break  # parameter sets would be lost
            elif self._is_wanted(entry) and (restart is None or entry.pts < restart.pts):
                break
            elif restart is None:
                headers |= entry.kind.headers
            if restart and entry.dts is not None and entry.dts >= restart.pts:
                return True
            place += 1
        else:
            if self._ended:
                return True
        self._wanted_until = self._taken + place
        return False

    def _at(self, place: int) -> Foreseen | None:
        """The packet at a place of the window, None beyond the end or the limits."""
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
            raise UnforeseenError("a packet without time, or damaged")
        if packet.dts is not None and packet.dts > packet.pts:
            raise UnforeseenError("a packet that comes after its time")
        last = self._window[-1].dts if self._window else self._last_dts
        if packet.is_discard and None not in (last, packet.dts) and packet.dts < last:
            # An edit goes on elsewhere: what leads up to that place has times of before.
            raise UnforeseenError("an edit list of several edits")
        if any(data.data_type in _LASTING for data in packet.iter_sidedata()):
            kind = replace(kind, headers=kind.headers | _CONTAINERS)
        presented = kind.shown and not packet.is_discard
        entry = Foreseen(packet, packet.pts, packet.dts, kind, presented)
        self._window.append(entry)
        self._bytes += packet.size
        if presented:
            if self._latest is not None and entry.pts <= self._latest.pts:
                raise UnforeseenError("packets out of order")
            heapq.heappush(self._unsettled, (entry.pts, id(entry), entry))
        else:
            entry.wanted = False
        if entry.dts is not None:
            self._settle(entry.dts)

    # ---------------------------------------------------------------- presentation order

    def _settle(self, horizon: int | None) -> None:
        """Ask the sampling about pictures whose successor is certain: no later packet is shown
        before ``horizon``, for none is shown before it is decoded. None: at the end."""
        while self._unsettled and (horizon is None or self._unsettled[0][0] < horizon):
            entry = heapq.heappop(self._unsettled)[2]
            if self._latest is not None:
                if entry.pts <= self._latest.pts:
                    raise UnforeseenError("two pictures at one time")
                self._latest.wanted = self._choice(self._latest.pts, entry.pts)
            self._latest = entry
        if horizon is None and self._latest is not None:
            # Where a file was cut, its last packet shows it.
            self._choice(self._latest.pts, None)
            self._latest.wanted = True
            if self._window:
                self._window[-1].wanted = True

    def _is_wanted(self, entry: Foreseen) -> bool:
        while entry.wanted is None:
            if not self._read():
                return entry.wanted is not False
        return entry.wanted
