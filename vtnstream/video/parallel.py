"""Several stretches of one file decoded side by side, handed out in order.

Each piece of the sampling grid is a pass of its own, with its own container and decoder, begun
at a keyframe that stands on its own by the bit stream. Where two pieces meet, the later one must
find the very token with which the earlier one ended. Whatever does not fit, and any damage, sends
the file back to one pass; chunks that were handed out are not given again.

How many decoders are at work is found out: one at first, then after each piece as many more as
there were idle cores, at most twice as many, if whoever takes the chunks had to wait for them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil

from vtnstream.errors import VideoDecodeError
from vtnstream.types import DecodeStats, DecodeSummary, FrameChunk
from vtnstream.video.decode import SeekUnverifiedError, UnforeseenError
from vtnstream.video.passes import Pass, Request
from vtnstream.video.prefetch import Ahead
from vtnstream.video.probe import StreamFacts
from vtnstream.video.samplers import Grid, Wanted

_USUAL_SECONDS = Fraction(60)
"""Length of a piece; each decodes up to a group of pictures twice."""

_SHORTEST = 4
"""Of the first piece, and of those at the end of a file, so many make a usual one."""

_MIN_SECONDS = Fraction(10)
"""Shorter pieces would decode most of the file twice."""

_HARDLY_IDLE = 0.2
"""Part of a core that is not worth another decoder."""

_MAX_FRAMES = 128
"""Frames of a piece (one chunk at least): what may wait for its turn, times the decoders."""

_WAITING = 0.9
"""Share of the time that a consumer waits who is the faster one."""


def frames_waiting(chunk_size: int, decoders: int) -> int:
    """Most frames that up to so many decoders have ready, in chunks of a size."""
    piece = max(1, _MAX_FRAMES // chunk_size)
    return chunk_size * piece * (decoders + 1) if decoders > 1 else 0


Landmark = tuple[int, int] | None
"""(index, pts) of a token; None where there is none."""


@dataclass(slots=True)
class _Running:
    """A piece that is being read; ``fits`` once it has met the one before."""

    piece: Pass
    ahead: Ahead[FrameChunk]
    fits: bool = False


@dataclass(slots=True)
class _Cutting:
    """Cuts the part that is wanted into pieces, on the grid at multiples of the chunk size.

    Attributes:
        wanted: the part.
        length: of the shortest piece, in tokens.
        most: so many times longer is the longest that is read beside others.
        end: the token after the last by the header, whose word only says where a last piece
            begins: it goes on to the end of the file.
        position: where the next piece begins, None when none is left.
    """

    wanted: Wanted
    length: int
    most: int
    end: int
    position: int | None

    @classmethod
    def of(cls, request: Request, facts: StreamFacts, grid: Grid | None) -> _Cutting | None:
        """None where it is not known how, or there would be one piece."""
        header_end = facts.header_end or facts.container_end
        if grid is None or header_end is None or not facts.seekable:
            return None
        first, stop, size = request.wanted.first, request.wanted.stop, request.chunk_size
        end = grid.first_due(header_end)
        end = end if stop is None else min(end, stop)
        if end - first < 2 or not grid.has(first):
            return None
        spacing = (grid.due(end - 1) - grid.due(first)) / (end - 1 - first)
        most = max(1, _MAX_FRAMES // size)
        chunks = min(most, max(1, round(_USUAL_SECONDS / (spacing * size)))) if spacing else most
        shortest = max(1, chunks // _SHORTEST)
        length = shortest * size
        if length * spacing < _MIN_SECONDS or end - first < 2 * length:
            return None
        return cls(request.wanted, length, chunks // shortest, end, first)

    def shared(self, decoders: int) -> int:
        """How many times longer than the shortest the next piece is, so that all decoders have
        work to the end."""
        assert self.position is not None
        share = (self.end - self.position) // (self.length * decoders)
        return max(1, min(self.most, share))

    def next(self, times: int) -> Wanted:
        """The next piece, so many times as long as the shortest."""
        first, cut = self.position, None
        assert first is not None
        if first + times * self.length <= self.end - self.length // 2:
            cut = first + times * self.length
        self.position = cut
        return Wanted(first, self.wanted.stop if cut is None else cut)


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
    """As :class:`~vtnstream.video.passes.Pass`, with up to ``decoders`` pieces at a time.

    Memory: at most ``decoders + 1`` pieces of 128 frames (one chunk at least) wait.
    """

    request: Request
    facts: StreamFacts
    cancelled: Callable[[], bool]
    decoders: int
    summary: DecodeSummary | None = None
    _given_up: bool = False
    _following: int = 0
    _landmark: Landmark = None
    _working: int = 1
    _alone: int = 1
    _meter: _Meter = field(default_factory=_Meter)
    _running: deque[_Running] = field(default_factory=deque)

    def chunks(self) -> Generator[FrameChunk, None, None]:
        """Side by side where that is certain, else in one pass."""
        whole = Pass(self.request, self.facts, self.cancelled)
        grid = whole.find_grid()
        cutting = _Cutting.of(self.request, self.facts, grid)
        if grid is not None and cutting is not None:
            try:
                yield from self._side_by_side(grid, cutting)
                return
            except (SeekUnverifiedError, VideoDecodeError):
                pass
            except UnforeseenError:
                whole.plainly = True
        whole.following = self._following
        yield from whole.chunks()
        self.summary = whole.summary

    def _side_by_side(self, grid: Grid, cutting: _Cutting) -> Iterator[FrameChunk]:
        stats, ending = DecodeStats(), None
        checked: FrameChunk | None = None
        try:
            while self._running or cutting.position is not None:
                self._start(grid, cutting)
                current = self._running[0]
                for chunk in current.ahead:
                    self._check(current, chunk)
                    # The end of a piece stands when the next one has met it too: what a decoder
                    # gives at the end of what it is fed may differ beside lost packets.
                    if checked is not None:
                        yield from self._handed_out(checked)
                    checked = chunk
                    if self._working > 1:
                        self._start(grid, cutting)
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
        self.summary = replace(ending, stats=stats)

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

    def _piece(self, grid: Grid, wanted: Wanted) -> Pass:
        known = self.request.known_pts if wanted.first == self.request.wanted.first else None
        request = replace(self.request, wanted=wanted, known_pts=known)
        return Pass(request, self.facts, lambda: self._given_up or self.cancelled(), grid=grid)

    def _start(self, grid: Grid, cutting: _Cutting) -> None:
        """Keep the decoders busy, but never more than one piece ahead of them. While there is
        one, its pieces grow, as each begins with pictures that nobody sees."""
        running = self._running
        most = self._working + 1 if self._working > 1 else 1
        while cutting.position is not None and len(running) < most:
            if sum(piece.ahead.is_working for piece in running) >= self._working:
                return
            alone = self._working == 1
            times = self._alone if alone else cutting.shared(self._working)
            piece = self._piece(grid, cutting.next(times))
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
