"""One pass over a file: open, seek where that can be trusted, sample, sum up."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from threading import Event

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import SamplingConfig
from vtnstream.types import DecodeSummary, FrameChunk, FrameFit, TimeRange
from vtnstream.video.choice import GridChoice, StrideChoice
from vtnstream.video.chunks import chunked
from vtnstream.video.container import OpenedVideo, opened
from vtnstream.video.counting import picked_grid
from vtnstream.video.decode import (
    FrameReader,
    Picture,
    SeekUnverifiedError,
    UnforeseenError,
    Unseen,
)
from vtnstream.video.foresight import Choice
from vtnstream.video.probe import StreamFacts
from vtnstream.video.resize import FrameResizer
from vtnstream.video.samplers import Grid, RateGrid, Token, Wanted, sample_frames, sample_grid
from vtnstream.video.sampling import Burst
from vtnstream.video.screen import Screen
from vtnstream.video.summary import check_usable, summarize

_WORTH_SEEKING = Fraction(2)
"""Seconds; nearer targets are reached faster by reading."""

_MIN_PATIENCE = Fraction(1)
"""Seconds a frame stays on screen whatever it declares (spec section 1, Sampling)."""

_FIRST_FRAME_GRACE = Fraction(1)
"""Seconds by which decoding may miss the first frame that was counted."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a source was asked for (see :func:`vtnstream.video.source.open_video`)."""

    path: str
    stream_index: int
    sampling: SamplingConfig
    fit: FrameFit
    interpolation: str
    chunk_size: int
    wanted: Wanted
    span: TimeRange
    known_pts: int | None
    burst: Burst
    max_pixels: int
    skip: bool = True

    @property
    def patience(self) -> Fraction:
        """Seconds a frame may be on screen beyond its declared duration: max(1 s, 2 / fps)."""
        if self.sampling.kind != "rate":
            return _MIN_PATIENCE
        return max(_MIN_PATIENCE, 2 / self.sampling.fps)


@dataclass(slots=True)
class Pass:
    """Reads one file once; ``summary`` is there when ``chunks`` has ended."""

    request: Request
    facts: StreamFacts
    cancelled: Event
    summary: DecodeSummary | None = None

    def chunks(self) -> Generator[FrameChunk, None, None]:
        """Decoding what is needed; where that cannot be told for certain, everything."""
        grid = self._grid()
        following = 0
        try:
            for chunk in self._sought(grid, self._choice(grid)):
                yield chunk
                following = chunk.stop_index
            return
        except UnforeseenError:
            pass
        # The plain pass says what a pass over this file finds. What was handed out stands.
        for chunk in self._sought(grid, None):
            if chunk.first_index >= following:
                yield chunk

    def _sought(self, grid: Grid | None, choice: Choice | None) -> Iterator[FrameChunk]:
        """From a verified seek where one helps, else from the start of the file."""
        target = self._seek_target(grid)
        if target is not None:
            try:
                yield from self._read(grid, choice, target)
                return
            except SeekUnverifiedError:  # raised before any chunk was handed out
                pass
        yield from self._read(grid, choice, None)

    def _grid(self) -> Grid | None:
        """The sampling points, None for the kinds that count frames."""
        request = self.request
        if request.sampling.kind == "rate":
            return RateGrid(request.sampling.fps, request.burst)
        if request.sampling.kind != "uniform":
            return None
        with self._opened() as video:
            reader = FrameReader(video, self.facts, cancelled=self.cancelled.is_set)
            return picked_grid(reader, request.sampling.num_frames, request.span)

    def _choice(self, grid: Grid | None) -> Choice | None:
        """Which pictures must be decoded, None for all."""
        request = self.request
        if not request.skip:
            return None
        if grid is not None:
            return GridChoice(grid, request.wanted, self.facts)
        if request.sampling.kind == "stride" and request.sampling.stride > 1:
            return StrideChoice(request.sampling.stride, request.span, self.facts)
        return None

    def _seek_target(self, grid: Grid | None) -> Fraction | None:
        """Player time at which decoding must have started for the first token wanted."""
        request, facts = self.request, self.facts
        if not facts.seekable:
            return None
        if grid is None:
            target = request.span.start
        else:
            first = request.wanted.first
            if not first or not grid.has(first):
                return None
            # One point earlier: the token before the first one is what proves the seek.
            target = grid.due(first - 1)
            if request.known_pts is not None:
                target = min(target, facts.player_time(request.known_pts))
        return target if target > _WORTH_SEEKING else None

    def _opened(self) -> AbstractContextManager[OpenedVideo]:
        request = self.request
        return opened(request.path, stream=request.stream_index, max_pixels=request.max_pixels)

    def _read(
        self, grid: Grid | None, choice: Choice | None, seek_to: Fraction | None
    ) -> Iterator[FrameChunk]:
        request = self.request
        with self._opened() as video:
            reader = FrameReader(
                video,
                self.facts,
                keyframes_only=request.sampling.kind == "keyframes",
                choice=choice,
                cancelled=self.cancelled.is_set,
            )
            if seek_to is not None:
                reader.seek(seek_to)
            screen = Screen(reader, request.patience)

            def on_skipped(token: Token) -> None:
                reader.tally.reset()
                screen.gaps.clear()

            def on_first(before: Token | None) -> None:
                if seek_to is not None:
                    self._verify(before)

            yield from chunked(
                self._tokens(screen, grid),
                request.chunk_size,
                request.wanted,
                take_stats=lambda: reader.tally.take(),
                on_skipped=on_skipped,
                on_first=on_first,
                path=request.path,
            )
            if seek_to is not None and not reader.tally.lifetime.num_frames:
                raise SeekUnverifiedError
            check_usable(request.path, reader)
            self.summary = summarize(reader, screen)

    def _verify(self, before: Token | None) -> None:
        """After a seek: the token before the first one wanted is the one known."""
        known = self.request.known_pts
        if known is not None and (before is None or before.pts != known):
            raise SeekUnverifiedError

    def _tokens(self, screen: Screen, grid: Grid | None) -> Iterator[Token]:
        request = self.request
        resize = FrameResizer(
            request.path,
            request.fit,
            interpolation=request.interpolation,
            max_pixels=request.max_pixels,
        )

        def convert(picture: Picture) -> NDArray[np.uint8]:
            if isinstance(picture.frame, Unseen):
                raise UnforeseenError("a wanted picture was left out")
            return resize(picture.frame, picture.aspect)

        if grid is None:
            every = request.sampling.stride if request.sampling.kind == "stride" else 1
            return sample_frames(screen, every, request.span, request.wanted, convert)
        counted = request.sampling.kind == "uniform"
        grace = _FIRST_FRAME_GRACE if counted else Fraction(0)
        return sample_grid(screen, grid, request.wanted, convert, grace=grace)
