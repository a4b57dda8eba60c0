"""Decode only the frames that the sampling needs, in the same order and with the same times.

A :class:`SkippedFrame` takes the place of each frame that is not decoded, so that times, display
durations, gaps and the end of the video are computed as if all frames were decoded. If the decoder
does not return the expected frames, a
:class:`~vtnstream.video.decoding.lookahead.SkippingUnsafeError` is raised, and all frames of the
file are decoded instead.

The decoder of some codecs may work on several frames at the same time. It gives the same frames
with any number of threads as long as the stream has no error; concealment of errors depends on
timing. Therefore the decoder is told to report errors instead of concealing them, and the first one
raises :class:`ThreadsUnsafeError`: the file is decoded again with one thread. Errors are reported
in decoding order, so frames that came out before do not depend on it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import av.error

from vtnstream.video.container import DECODE_ERRORS, OpenedVideo
from vtnstream.video.decoding.lookahead import (
    Action,
    PlannedPacket,
    SkippingUnsafeError,
    SkipPlanner,
)

_MAX_PENDING = 2000
_VERIFIED_FRAMES = 16
"""Number of frames that must come out in the order of their times before any frame is skipped.
Files whose times contradict the bit stream, and decoders that guess the delay, are recognised
within these frames, before a chunk is returned."""


_WITH_FRAME_THREADS = frozenset({"h264", "mpeg4", "vp9", "av1"})
"""Codecs that may have several threads, beside those without prediction between frames. HEVC and
VP8 may not: libav decodes some damaged frames of theirs without reporting an error, and these
frames then depend on the number of threads (measured by changing single bits)."""

_REPORT_ERRORS = "+crccheck+bitstream+buffer+explode"
"""libav's ``err_detect``: check all that it can, and return an error instead of concealing it."""


def has_frame_threads(codec_name: str) -> bool:
    """Return whether the decoder of a codec that predicts between frames may work on several of
    them at the same time."""
    return codec_name in _WITH_FRAME_THREADS


class ThreadsUnsafeError(SkippingUnsafeError):
    """The decoder met an error while it worked on several frames: decode with one thread."""


class PacketCallback(Protocol):
    """Called with each packet, for counting."""

    def __call__(self, packet: Any, *, decoded: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class SkippedFrame:
    """Takes the place of a frame that was not decoded."""

    pts: int
    dts: int | None
    duration: int


class SparseDecoder:
    """Yields the frames of one stream in presentation order, decoded or skipped.

    Args:
        video: open, at its start or after a seek.
        planner: plans what to do with each packet.
        note: called with each packet and whether it is passed to the decoder.
        threads: number of frames to work on at the same time, if the codec allows it.
    """

    def __init__(
        self, video: OpenedVideo, planner: SkipPlanner, note: PacketCallback, threads: int = 1
    ) -> None:
        context = video.stream.codec_context
        codec = context.codec
        if not (codec.intra_only or has_frame_threads(codec.canonical_name)):
            threads = 1
        if threads > 1:
            _use_frame_threads(context, threads)
        self._threads = threads
        self._video, self._context = video, context
        self._planner = planner
        self._note = note
        # Frames not returned yet: (pts, number, whether the decoder must return it, placeholder).
        self._pending: list[tuple[int, int, bool, SkippedFrame]] = []
        self._count = self._num_out = 0
        self._ready: dict[int, Any] = {}
        # Whether the decoder is empty, and whether it restarts at a keyframe.
        self._drained = self._restarts = False
        # In H.264, the two fields of one frame may be in two packets.
        self._pairs_fields = context.codec.canonical_name == "h264"

    def frames(self) -> Iterator[Any]:
        """Yield an ``av.VideoFrame`` or :class:`SkippedFrame` per frame.

        Raises:
            ThreadsUnsafeError: the decoder met an error, with several threads.
            SkippingUnsafeError: the decoder does not return the expected frames.
        """
        for planned, action in self._planner.steps():
            passed = action in (Action.DECODE, Action.SKIP)
            self._note(planned.packet, decoded=passed)
            if action is Action.OMIT:
                yield from self._omit(planned)
                continue
            if not passed:
                self._expect(planned, required=False)
                continue
            self._expect(planned, required=action is Action.DECODE)
            self._context.skip_frame = "NONREF" if action is Action.SKIP else "DEFAULT"
            self._drained = False
            for frame in self._decode(planned.packet):
                yield from self._in_order(frame.pts + 1)
        self._decode(None)
        yield from self._in_order(None)

    def _omit(self, planned: PlannedPacket) -> Iterator[Any]:
        self._expect(planned, required=False)
        if not self._planner.interrupted:
            return
        if not self._drained:
            self._decode(None)
            self._context.flush_buffers()
            self._drained = self._restarts = True
        if planned.dts is not None:
            # The decoder is empty, so all frames before this decoding time are final.
            yield from self._in_order(planned.dts)

    def _decode(self, packet: Any) -> list[Any]:
        """Decode a packet; return the frames that came out."""
        try:
            frames = list(self._video.decode(packet))
        except av.error.InterruptedError:
            raise KeyboardInterrupt from None
        except DECODE_ERRORS as error:
            unsafe = ThreadsUnsafeError if self._threads > 1 else SkippingUnsafeError
            raise unsafe("a packet cannot be decoded") from error
        for frame in frames:
            if frame.pts is None or (self._pairs_fields and frame.interlaced_frame):
                raise SkippingUnsafeError("a frame without time, or of two fields")
            self._ready[frame.pts] = frame
        if frames and self._restarts:
            if not frames[0].key_frame:
                raise SkippingUnsafeError("decoding does not begin at a keyframe")
            self._restarts = False
        if frames and not self._num_out:
            # The packets before yield no frame, also when all packets are decoded.
            while self._pending and self._pending[0][0] < frames[0].pts:
                heapq.heappop(self._pending)
        self._num_out += len(frames)
        self._planner.may_skip = self._num_out >= _VERIFIED_FRAMES
        return frames

    def _expect(self, planned: PlannedPacket, *, required: bool) -> None:
        if not planned.presented:
            return
        if len(self._pending) >= _MAX_PENDING:
            raise SkippingUnsafeError("no frame comes out")
        skipped = SkippedFrame(planned.pts, planned.dts, planned.packet.duration or 0)
        self._count += 1
        heapq.heappush(self._pending, (planned.pts, self._count, required, skipped))

    def _in_order(self, stop: int | None) -> Iterator[Any]:
        """Yield the frames displayed before ``stop`` in order; None yields all that are left."""
        while self._pending and (stop is None or self._pending[0][0] < stop):
            pts, _, required, skipped = heapq.heappop(self._pending)
            frame = self._ready.pop(pts, None)
            if frame is None and required:
                raise SkippingUnsafeError("a frame is missing")
            yield skipped if frame is None else frame
        if self._ready and (stop is None or min(self._ready) < stop):
            raise SkippingUnsafeError("a frame without a packet")


def _use_frame_threads(context: Any, threads: int) -> None:
    """Let a decoder that is not open yet work on several frames, and report errors."""
    context.thread_type = "FRAME"
    context.thread_count = threads
    context.options = {**context.options, "err_detect": _REPORT_ERRORS}
