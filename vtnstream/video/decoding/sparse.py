"""Decoding no more than what the sampling needs, in the same order and with the same times.

For each packet whose picture is not decoded an :class:`Unseen` takes its place, so that
everything that asks for times (the clock, spans on screen, gaps, the end of the film) sees the
very sequence that decoding everything would give. Whatever does not fit raises
:class:`~vtnstream.video.decoding.lookahead.UnforeseenError`, and the file is decoded plainly
instead.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import av.error

from vtnstream.video.container import DECODE_ERRORS
from vtnstream.video.decoding.lookahead import Action, Foreseen, Foresight, UnforeseenError

_MAX_PENDING = 2000
_PROOFS = 16
"""Pictures that must come out in the order of their times before any is left out: files whose
times disagree with their bit stream, or decoders that guess the delay, show it at once. So it
must be wherever reading begins: chunks that are handed out cannot be taken back."""


class Note(Protocol):
    """Book-keeping of a packet."""

    def __call__(self, packet: Any, *, decoded: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Unseen:
    """Stands for the frame of a packet that was not decoded."""

    pts: int
    dts: int | None
    duration: int


class SparseDecoder:
    """Frames of one stream in presentation order, decoded or standing in.

    Args:
        context: ``av.VideoCodecContext``, fresh or flushed.
        foresight: says what becomes of each packet.
        note: called with each packet, and whether it goes to the decoder now.
    """

    def __init__(self, context: Any, foresight: Foresight, note: Note) -> None:
        self._context = context
        self._foresight = foresight
        self._note = note
        # Pictures that have not come out: (pts, running number, the decoder owes it, stand-in).
        self._pending: list[tuple[int, int, bool, Unseen]] = []
        self._count = self._num_out = 0
        self._ready: dict[int, Any] = {}
        # Nothing is left in the decoder; it has been given the keyframe to begin anew with.
        self._drained = self._restarts = False
        # H.264 may code the fields of a frame in packets of their own: one picture, two packets.
        self._pairs_fields = context.codec.canonical_name == "h264"

    def frames(self) -> Iterator[Any]:
        """``av.VideoFrame`` or :class:`Unseen` for each picture.

        Raises:
            UnforeseenError: what comes out is not what was foreseen.
        """
        for foreseen, action in self._foresight.steps():
            self._note(foreseen.packet, decoded=action is not Action.OMIT)
            if action is Action.OMIT:
                yield from self._omit(foreseen)
                continue
            self._await(foreseen, owed=action is Action.DECODE)
            self._context.skip_frame = "NONREF" if action is Action.SKIP else "DEFAULT"
            self._drained = False
            for frame in self._decode(foreseen.packet):
                yield from self._released(frame.pts + 1)
        self._decode(None)
        yield from self._released(None)

    def _omit(self, foreseen: Foreseen) -> Iterator[Any]:
        self._await(foreseen, owed=False)
        if not self._foresight.interrupted:
            return
        if not self._drained:
            self._decode(None)
            self._context.flush_buffers()
            self._drained = self._restarts = True
        if foreseen.dts is not None:
            # Nothing the decoder holds is due any more: decoding times tell what is final.
            yield from self._released(foreseen.dts)

    def _decode(self, packet: Any) -> list[Any]:
        """Frames that came out, which are ready now."""
        try:
            frames = list(self._context.decode(packet))
        except av.error.InterruptedError:
            raise KeyboardInterrupt from None
        except DECODE_ERRORS as error:
            raise UnforeseenError("a packet cannot be decoded") from error
        for frame in frames:
            if frame.pts is None or (self._pairs_fields and frame.interlaced_frame):
                raise UnforeseenError("a frame without time, or of two fields")
            self._ready[frame.pts] = frame
        if frames and self._restarts:
            if not frames[0].key_frame:
                raise UnforeseenError("decoding does not begin at a keyframe")
            self._restarts = False
        if frames and not self._num_out:
            # Nothing came of the packets before: no picture, here as in a plain pass.
            while self._pending and self._pending[0][0] < frames[0].pts:
                heapq.heappop(self._pending)
        self._num_out += len(frames)
        self._foresight.may_skip = self._num_out >= _PROOFS
        return frames

    def _await(self, foreseen: Foreseen, *, owed: bool) -> None:
        if not foreseen.presented:
            return
        if len(self._pending) >= _MAX_PENDING:
            raise UnforeseenError("no picture comes out")
        unseen = Unseen(foreseen.pts, foreseen.dts, foreseen.packet.duration or 0)
        self._count += 1
        heapq.heappush(self._pending, (foreseen.pts, self._count, owed, unseen))

    def _released(self, stop: int | None) -> Iterator[Any]:
        """All that is shown before ``stop``, None for all that is left, in order."""
        while self._pending and (stop is None or self._pending[0][0] < stop):
            pts, _, owed, unseen = heapq.heappop(self._pending)
            frame = self._ready.pop(pts, None)
            if frame is None and owed:
                raise UnforeseenError("a picture is missing")
            yield unseen if frame is None else frame
        if self._ready and (stop is None or min(self._ready) < stop):
            raise UnforeseenError("a picture of no packet")
