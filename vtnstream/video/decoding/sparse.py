"""Decode only the frames that the sampling needs, in the same order and with the same times.

An :class:`Unseen` takes the place of each frame that is not decoded, so that times, display
durations, gaps and the end of the video are computed as if all frames were decoded. If the decoder
does not return the expected frames,
:class:`~vtnstream.video.decoding.lookahead.UnforeseenError` is raised, and all frames of the file
are decoded instead.
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
"""Number of frames that must come out in the order of their times before any frame is skipped.
Files whose times contradict the bit stream, and decoders that guess the delay, are recognised
within these frames, before a chunk is returned."""


class Note(Protocol):
    """Called with each packet, for counting."""

    def __call__(self, packet: Any, *, decoded: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Unseen:
    """Takes the place of a frame that was not decoded."""

    pts: int
    dts: int | None
    duration: int


class SparseDecoder:
    """Yields the frames of one stream in presentation order, decoded or skipped.

    Args:
        context: ``av.VideoCodecContext``, new or flushed.
        foresight: plans what to do with each packet.
        note: called with each packet and whether it is passed to the decoder.
    """

    def __init__(self, context: Any, foresight: Foresight, note: Note) -> None:
        self._context = context
        self._foresight = foresight
        self._note = note
        # Frames that have not come out: (pts, number, must the decoder return it, stand-in).
        self._pending: list[tuple[int, int, bool, Unseen]] = []
        self._count = self._num_out = 0
        self._ready: dict[int, Any] = {}
        # Whether the decoder is empty, and whether it restarts at a keyframe.
        self._drained = self._restarts = False
        # In H.264, the two fields of one frame may be in two packets.
        self._pairs_fields = context.codec.canonical_name == "h264"

    def frames(self) -> Iterator[Any]:
        """Yield an ``av.VideoFrame`` or :class:`Unseen` per frame.

        Raises:
            UnforeseenError: the decoder does not return the expected frames.
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
            # The decoder is empty, so all frames before this decoding time are final.
            yield from self._released(foreseen.dts)

    def _decode(self, packet: Any) -> list[Any]:
        """Decode a packet; return the frames that came out."""
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
            # The packets before yield no frame, also when all packets are decoded.
            while self._pending and self._pending[0][0] < frames[0].pts:
                heapq.heappop(self._pending)
        self._num_out += len(frames)
        self._foresight.may_skip = self._num_out >= _PROOFS
        return frames

    def _await(self, foreseen: Foreseen, *, owed: bool) -> None:
        if not foreseen.presented:
            return
        if len(self._pending) >= _MAX_PENDING:
            raise UnforeseenError("no frame comes out")
        unseen = Unseen(foreseen.pts, foreseen.dts, foreseen.packet.duration or 0)
        self._count += 1
        heapq.heappush(self._pending, (foreseen.pts, self._count, owed, unseen))

    def _released(self, stop: int | None) -> Iterator[Any]:
        """Yield the frames displayed before ``stop`` in order; None yields all that are left."""
        while self._pending and (stop is None or self._pending[0][0] < stop):
            pts, _, owed, unseen = heapq.heappop(self._pending)
            frame = self._ready.pop(pts, None)
            if frame is None and owed:
                raise UnforeseenError("a frame is missing")
            yield unseen if frame is None else frame
        if self._ready and (stop is None or min(self._ready) < stop):
            raise UnforeseenError("a frame without a packet")
