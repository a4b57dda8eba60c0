"""Several stretches of one file decoded side by side, handed out in order.

Each piece of what is sampled is a pass of its own, with its own container and decoder, begun
at a keyframe that stands on its own by the bit stream. Where two pieces meet, the later one must
find the very token with which the earlier one ended. Whatever does not fit, and any damage, sends
the file back to one pass; chunks that were handed out are not given again.

How many decoders are at work is found out: one at first, then after each piece as many more as
there were idle cores, at most twice as many, if whoever takes the chunks had to wait for them. A
GPU's decoders, which cost hardly a core, begin all at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from math import ceil

from vtnstream.errors import VideoDecodeError
from vtnstream.types import DecodeStats, DecodeSummary, FrameChunk
from vtnstream.video.decoding.reader import SeekUnverifiedError, UnforeseenError
from vtnstream.video.probe import StreamFacts
from vtnstream.video.sampling.passes import Pass, ReadRequest
from vtnstream.video.sampling.pieces import Cutting, is_worthwhile
from vtnstream.video.sampling.prefetch import Ahead
from vtnstream.video.sampling.samplers import Points, Wanted

_HARDLY_IDLE = 0.2
"""Part of a core that is not worth another decoder."""

_WAITING = 0.9
"""Share of the time that a consumer waits who is the faster one."""


Landmark = tuple[int, int] | None
"""(index, pts) of a token; None where there is none."""


@dataclass(slots=True)
class _Running:
    """A piece that is being read; ``fits`` once it has met the one before."""

    piece: Pass
    ahead: Ahead[FrameChunk]
    fits: bool = False


@dataclass(slots=True)
class _Meter:
    """Where the time since the last look went.

    Attributes:
        taken: seconds the consumer had a chunk and asked for no other; 0 before it had one.
    """

    wall: float = field(default_factory=time.perf_counter)
    processor: float = field(default_factory=time.process_time)
    taken: float = 0.0

    def idle(self, cores: int) -> float:
        """Of so many cores, how many this process left idle while the consumer was waiting;
        0 where the consumer was the slower one."""
        wall, processor = time.perf_counter(), time.process_time()
        seconds, used = wall - self.wall, processor - self.processor
        waiting = 0 < self.taken < (1 - _WAITING) * seconds
        self.wall, self.processor, self.taken = wall, processor, 0.0
        return cores - used / seconds if waiting else 0.0


@dataclass(slots=True)
class ParallelPass:
    """As :class:`~vtnstream.video.sampling.passes.Pass`, with up to ``decoders`` pieces at a time.

    Memory: see :func:`vtnstream.video.sampling.pieces.frames_waiting`.

    Attributes:
        frame_bytes: of a picture as it is handed out.
    """

    request: ReadRequest
    facts: StreamFacts
    cancelled: Callable[[], bool]
    decoders: int
    frame_bytes: int
    summary: DecodeSummary | None = None
    _given_up: bool = False
    _following: int = 0
    _landmark: Landmark = None
    _working: int = 1
    _alone: int = 1
    _meter: _Meter = field(default_factory=_Meter)
    _running: deque[_Running] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.request.hardware is not None:
            self._working = self.decoders

    def chunks(self) -> Generator[FrameChunk, None, None]:
        """Side by side where that is certain, else in one pass."""
        whole = Pass(self.request, self.facts, self.cancelled)
        points: Points | None = whole.find_grid()
        if points is None and is_worthwhile(self.request, self.facts, self.frame_bytes):
            points = whole.find_numbers()
        cutting = Cutting.of(self.request, self.facts, points, self.frame_bytes)
        if cutting is not None:
            try:
                yield from self._side_by_side(whole, cutting)
                return
            except (SeekUnverifiedError, VideoDecodeError):
                pass
            except UnforeseenError:
                whole.plainly = True
        whole.numbers = None
        whole.following = self._following
        yield from whole.chunks()
        self.summary = whole.summary

    def _side_by_side(self, whole: Pass, cutting: Cutting) -> Iterator[FrameChunk]:
        stats, ending = DecodeStats(), None
        checked: FrameChunk | None = None
        try:
            while self._running or cutting.position is not None:
                self._start(whole, cutting)
                current = self._running[0]
                for chunk in current.ahead:
                    self._check(current, chunk)
                    # The end of a piece stands when the next one has met it too: what a decoder
                    # gives at the end of what it is fed may differ beside lost packets.
                    if checked is not None:
                        yield from self._handed_out(checked)
                    checked = chunk
                    if self._working > 1:
                        self._start(whole, cutting)
                ending = self._ended(current)
                stats += ending.stats
                self._running.popleft().ahead.close()
                self._adapt()
            if checked is not None:
                yield from self._handed_out(checked)
        finally:
            self._given_up = True
            for piece in self._running:
                piece.ahead.close()
        assert ending is not None
        self.summary = replace(ending, stats=stats, frames=None)

    def _handed_out(self, chunk: FrameChunk) -> Iterator[FrameChunk]:
        self._following = chunk.stop_index
        began = time.perf_counter()
        yield chunk
        self._meter.taken += time.perf_counter() - began

    def _adapt(self) -> None:
        """After each piece: more decoders where the consumer waits for them and cores idle."""
        more = min(self._working, ceil(self._meter.idle(self.decoders) - _HARDLY_IDLE))
        self._working = min(self._working + max(0, more), self.decoders)
        self._alone *= 2

    def _piece(self, whole: Pass, wanted: Wanted) -> Pass:
        known = self.request.known_pts if wanted.first == self.request.wanted.first else None
        request = replace(self.request, wanted=wanted, known_pts=known)
        return replace(whole, request=request, cancelled=lambda: self._given_up or self.cancelled())

    def _start(self, whole: Pass, cutting: Cutting) -> None:
        """Keep the decoders busy, but never more than one piece ahead of them. While there is
        one, its pieces grow, as each begins with pictures that nobody sees."""
        running = self._running
        most = self._working + 1 if self._working > 1 else 1
        while cutting.position is not None and len(running) < most:
            if sum(piece.ahead.is_working for piece in running) >= self._working:
                return
            alone = self._working == 1
            times = self._alone if alone else cutting.shared(self._working)
            piece = self._piece(whole, cutting.next(times))
            depth = 1 if alone else times * cutting.length // self.request.chunk_size
            running.append(_Running(piece, Ahead(piece.piece(), depth)))

    def _check(self, current: _Running, chunk: FrameChunk) -> None:
        """Before a chunk is handed out: nothing was damaged, and its piece fits to the last."""
        self._check_fit(current)
        met = chunk.stats
        if met.num_packet_errors or met.num_corrupt or met.num_dropped:
            raise UnforeseenError("damage")
        times = chunk.times
        if len(times):
            self._landmark = int(times.indices[-1]), int(times.pts[-1])

    def _check_fit(self, current: _Running) -> None:
        if current.fits:
            return
        before = current.piece.before
        landmark = None if before is None else (before.index, before.pts)
        if current.piece.request.wanted.first == self.request.wanted.first:
            self._landmark = landmark
        elif landmark != self._landmark:
            raise SeekUnverifiedError
        current.fits = True

    def _ended(self, current: _Running) -> DecodeSummary:
        self._check_fit(current)
        summary = current.piece.summary
        assert summary is not None
        if summary.warnings or summary.problems != summary.end_problems:
            raise UnforeseenError("damage, or a gap")
        return summary
