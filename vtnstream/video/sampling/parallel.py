"""Decode several parts of one file at the same time, and return their chunks in order.

Each part is a pass with its own container and decoder, which begins at a keyframe that does not
depend on earlier packets. Where two parts meet, the later one must find the last token of the
earlier one. If it does not, or if there is any damage, the rest of the file is read in one pass;
chunks that were returned are not repeated.

The number of decoders adapts: it is one at first, which works on several frames at a time. If
the consumer has to wait for chunks, it grows by the number of idle cores, at most to twice the
number: once while the first part is read, as soon as the consumer has had a chunk to work on, and
then after each part. All decoders start at once for codecs that are decoded one frame at a time,
and on a GPU, where they use little CPU time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from math import ceil

from vtnstream.errors import VideoDecodeError
from vtnstream.types import DecodeStats, DecodeSummary, FrameChunk
from vtnstream.video.decoding.reader import (
    SeekUnverifiedError,
    SkippingUnsafeError,
    ThreadsUnsafeError,
)
from vtnstream.video.probe import StreamFacts
from vtnstream.video.sampling.passes import Pass, ReadRequest
from vtnstream.video.sampling.pieces import PiecePlan, is_worthwhile
from vtnstream.video.sampling.prefetch import Prefetcher
from vtnstream.video.sampling.samplers import TokenPoints, TokenRange

_HARDLY_IDLE = 0.5
"""Idle share of a core below which no decoder is added: a decoder that works on several frames
leaves some of each core, and each new part decodes up to one group of pictures twice."""

_WAITING = 0.9
"""Share of the time above which the consumer counts as waiting."""


_PROBE_CHUNKS = 3
_PROBE_SECONDS = 0.25
"""Shortest time over which the load is measured within the first part, beside the time of two
chunks: about a hundred frames of a large video."""


_Landmark = tuple[int, int] | None
"""(index, pts) of a token, or None without a token."""


@dataclass(slots=True)
class _Running:
    """A part that is being read; ``fits`` once it has been checked against the part before."""

    piece: Pass
    prefetcher: Prefetcher[FrameChunk]
    fits: bool = False


@dataclass(slots=True)
class _LoadMeter:
    """Measures wall time and CPU time since the last call.

    Attributes:
        taken: seconds in which the consumer worked on a chunk; 0 before the first chunk.
    """

    wall: float = field(default_factory=time.perf_counter)
    processor: float = field(default_factory=time.process_time)
    taken: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since the measurement began."""
        return time.perf_counter() - self.wall

    def restart(self) -> None:
        """Begin a new measurement."""
        self.wall, self.processor = time.perf_counter(), time.process_time()
        self.taken = 0.0

    def idle(self, cores: int) -> float:
        """Return the number of cores that were idle while the consumer was waiting; 0 if the
        consumer was slower than decoding."""
        seconds, used = self.seconds, time.process_time() - self.processor
        waiting = 0 < self.taken < (1 - _WAITING) * seconds
        self.restart()
        return cores - used / seconds if waiting else 0.0


@dataclass(slots=True)
class ParallelPass:
    """A :class:`~vtnstream.video.sampling.passes.Pass` with up to ``decoders`` parts at a time.

    Memory: see :func:`vtnstream.video.sampling.pieces.frames_waiting`.

    Attributes:
        frame_bytes: size of a returned frame in bytes.
        at_once: whether all decoders start at once, as one alone does not work on several frames;
            short files are then divided too.
    """

    request: ReadRequest
    facts: StreamFacts
    cancelled: Callable[[], bool]
    decoders: int
    frame_bytes: int
    at_once: bool = False
    summary: DecodeSummary | None = None
    _given_up: bool = False
    _next_index: int = 0
    _landmark: _Landmark = None
    _working: int = 1
    _alone: int = 1
    _num_returned: int = 0
    _is_probed: bool = False
    _meter: _LoadMeter = field(default_factory=_LoadMeter)
    _running: deque[_Running] = field(default_factory=deque)

    def __post_init__(self) -> None:
        if self.at_once or self.request.hardware is not None:
            self._working = self.decoders

    def chunks(self) -> Generator[FrameChunk, None, None]:
        """Read parts at the same time if that is safe, otherwise in one pass."""
        whole = Pass(self.request, self.facts, self.cancelled)
        plan = self._plan(whole)
        if plan is not None:
            try:
                yield from self._side_by_side(whole, plan)
                return
            except (SeekUnverifiedError, VideoDecodeError):
                pass
            except ThreadsUnsafeError:
                whole.one_thread = True
            except SkippingUnsafeError:
                whole.decode_all = True
        whole.numbers = None
        whole.next_index = self._next_index
        yield from whole.chunks()
        self.summary = whole.summary

    def _plan(self, whole: Pass) -> PiecePlan | None:
        """Return the split of the file, None if it must be read in one pass."""
        request, facts, frame_bytes = self.request, self.facts, self.frame_bytes
        keyframes = whole.find_keyframes() if self.at_once else []
        points: TokenPoints | None = whole.find_grid()
        if points is None and (keyframes or is_worthwhile(request, facts, frame_bytes)):
            points = whole.find_numbers()
        return PiecePlan.of(
            request, facts, points, frame_bytes, keyframes=keyframes, decoders=self.decoders
        )

    def _side_by_side(self, whole: Pass, plan: PiecePlan) -> Iterator[FrameChunk]:
        stats, ending = DecodeStats(), None
        checked: FrameChunk | None = None
        try:
            while self._running or plan.position is not None:
                self._start(whole, plan)
                current = self._running[0]
                for chunk in current.prefetcher:
                    self._check(current, chunk)
                    # The last chunk of a part is returned only after the next part has confirmed
                    # it, because the last frames of a decoder may differ near lost packets.
                    if checked is not None:
                        yield from self._handed_out(checked)
                    checked = chunk
                    self._adapt_early()
                    if self._working > 1:
                        self._start(whole, plan)
                ending = self._ended(current)
                stats += ending.stats
                self._running.popleft().prefetcher.close()
                self._adapt()
            if checked is not None:
                yield from self._handed_out(checked)
        finally:
            self._given_up = True
            for piece in self._running:
                piece.prefetcher.close()
        assert ending is not None
        self.summary = replace(ending, stats=stats, frames=None)

    def _handed_out(self, chunk: FrameChunk) -> Iterator[FrameChunk]:
        self._next_index = chunk.stop_index
        began = time.perf_counter()
        yield chunk
        self._meter.taken += time.perf_counter() - began
        self._num_returned += 1
        if self._num_returned == 1:
            self._meter.restart()  # before, the consumer had nothing to work on

    def _adapt_early(self) -> None:
        """Within the first part, add decoders once if the consumer waits and cores are idle."""
        if self._working > 1 or self._alone > 1 or self._num_returned < _PROBE_CHUNKS:
            return
        if not self._is_probed and self._meter.seconds >= _PROBE_SECONDS:
            self._is_probed = True
            self._add_decoders()

    def _adapt(self) -> None:
        """After each part, add decoders if the consumer waits and cores are idle."""
        self._add_decoders()
        self._alone *= 2

    def _add_decoders(self) -> None:
        more = min(self._working, ceil(self._meter.idle(self.decoders) - _HARDLY_IDLE))
        self._working = min(self._working + max(0, more), self.decoders)

    def _piece(self, whole: Pass, token_range: TokenRange) -> Pass:
        known = (
            self.request.known_pts if token_range.first == self.request.token_range.first else None
        )
        threads = self.request.threads if self._working == 1 else 1
        request = replace(self.request, token_range=token_range, known_pts=known, threads=threads)
        return replace(whole, request=request, cancelled=lambda: self._given_up or self.cancelled())

    def _start(self, whole: Pass, plan: PiecePlan) -> None:
        """Start parts so that all decoders are busy, at most one part in advance. With one decoder,
        parts become longer, because each begins with frames that are not needed."""
        running = self._running
        most = self._working + 1 if self._working > 1 else 1
        while plan.position is not None and len(running) < most:
            if sum(piece.prefetcher.is_working for piece in running) >= self._working:
                return
            alone = self._working == 1
            times = self._alone if alone else plan.shared(self._working)
            piece = self._piece(whole, plan.next(times))
            depth = 1 if alone else times * plan.length // self.request.chunk_size
            running.append(_Running(piece, Prefetcher(piece.piece(), depth)))

    def _check(self, current: _Running, chunk: FrameChunk) -> None:
        """Before a chunk is returned, check for damage and that its part fits to the last one."""
        self._check_fit(current)
        met = chunk.stats
        if met.num_packet_errors or met.num_corrupt or met.num_dropped:
            raise SkippingUnsafeError("damage")
        times = chunk.times
        if len(times):
            self._landmark = int(times.indices[-1]), int(times.pts[-1])

    def _check_fit(self, current: _Running) -> None:
        if current.fits:
            return
        before = current.piece.before
        landmark = None if before is None else (before.index, before.pts)
        if current.piece.request.token_range.first == self.request.token_range.first:
            self._landmark = landmark
        elif landmark != self._landmark:
            raise SeekUnverifiedError
        current.fits = True

    def _ended(self, current: _Running) -> DecodeSummary:
        self._check_fit(current)
        summary = current.piece.summary
        assert summary is not None
        if summary.warnings or summary.problems != summary.end_problems:
            raise SkippingUnsafeError("damage, or a gap")
        return summary
