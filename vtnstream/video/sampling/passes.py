"""One pass over a file: open it, seek if that is safe, sample frames, summarise."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vtnstream.config import SamplingConfig
from vtnstream.errors import VideoDecodeError
from vtnstream.transport.feed import Feed
from vtnstream.transport.media import Medium
from vtnstream.types import DecodeSummary, FrameChunk, FrameFit, TimeRange
from vtnstream.video.container import OpenedVideo, open_video
from vtnstream.video.decoding.counters import DecodeCounters
from vtnstream.video.decoding.frame_timeline import FrameTimeline
from vtnstream.video.decoding.hardware import Hardware, SurfaceResizer, refusing, undamaged
from vtnstream.video.decoding.lookahead import FrameChoice
from vtnstream.video.decoding.reader import (
    DecodedFrame,
    FrameReader,
    SeekUnverifiedError,
    SkippedFrame,
    SkippingUnsafeError,
    ThreadsUnsafeError,
)
from vtnstream.video.probe import Begun, StreamFacts
from vtnstream.video.resize import FrameResizer
from vtnstream.video.sampling.chunks import chunked
from vtnstream.video.sampling.counting import FrameNumbers, uniform_grid
from vtnstream.video.sampling.frame_choice import GridChoice, StrideChoice, every_frame
from vtnstream.video.sampling.grid import Burst
from vtnstream.video.sampling.keyframes import keyframe_times
from vtnstream.video.sampling.samplers import (
    Grid,
    Pixels,
    RateGrid,
    Token,
    TokenRange,
    sample_frames,
    sample_grid,
)
from vtnstream.video.summary import check_usable, summarize

_MIN_SEEK_SECONDS = Fraction(2)
"""Seconds; for nearer targets, reading is faster than seeking."""

_MIN_HOLD = Fraction(1)
"""Seconds for which a frame is displayed at least, whatever its stored duration."""

_FIRST_FRAME_GRACE = Fraction(1)
"""Seconds by which the first decoded frame may be later than the first counted one."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """The arguments of :func:`vtnstream.video.source.open_video`."""

    medium: Medium
    path: str
    stream_index: int
    sampling: SamplingConfig
    fit: FrameFit
    interpolation: str
    chunk_size: int
    token_range: TokenRange
    span: TimeRange
    known_pts: int | None
    burst: Burst
    max_pixels: int
    skip: bool = True
    threads: int = 1
    hardware: Hardware | None = None
    begun: Begun | None = None

    @property
    def min_hold(self) -> Fraction:
        """Seconds for which a frame is displayed at least: max(1 s, 2 / fps)."""
        if self.sampling.kind != "rate":
            return _MIN_HOLD
        return max(_MIN_HOLD, 2 / self.sampling.fps)


@dataclass(slots=True)
class Pass:
    """Reads one file once; ``summary`` exists when ``chunks`` has ended.

    Attributes:
        decode_all: decode all frames, even if the request allows skipping.
        one_thread: decode one frame at a time, even if the request allows several.
        next_index: first index that has not been returned yet.
        grid: the sampling grid once it is known, None for kinds that count frames.
        numbers: frame numbers, if reading may begin in the middle with a kind that counts frames.
        before: the last token before the requested range, once it was read.
    """

    request: ReadRequest
    facts: StreamFacts
    cancelled: Callable[[], bool]
    decode_all: bool = False
    one_thread: bool = False
    next_index: int = 0
    grid: Grid | None = None
    numbers: FrameNumbers | None = None
    before: Token | None = None
    summary: DecodeSummary | None = None

    def chunks(self) -> Generator[FrameChunk, None, None]:
        """Decode the needed frames, or all frames if skipping is not safe.

        Chunks that were returned before decoding had to begin again are not repeated.
        """
        while not self.decode_all:
            try:
                yield from self._not_returned(self._read_from_seek())
                return
            except ThreadsUnsafeError:
                self.one_thread = True
            except SkippingUnsafeError:
                self.decode_all = True
        yield from self._not_returned(self._read_from_seek())

    def piece(self) -> Generator[FrameChunk, None, None]:
        """Decode one part of a file like :meth:`chunks`, without a fallback.

        Raises:
            SeekUnverifiedError: the part cannot be read by itself.
            ThreadsUnsafeError: the file must be decoded with one thread.
            SkippingUnsafeError: all frames of the file must be decoded.
        """
        yield from self._read(self._seek_target(), certain=True)

    def _not_returned(self, chunks: Iterator[FrameChunk]) -> Iterator[FrameChunk]:
        for chunk in chunks:
            if chunk.first_index >= self.next_index:
                self.next_index = chunk.stop_index
                yield chunk

    def _read_from_seek(self) -> Iterator[FrameChunk]:
        """Read after a verified seek if one helps, else from the start of the file."""
        self.find_grid()
        target = self._seek_target()
        if target is not None:
            try:
                yield from self._read(target)
                return
            except SeekUnverifiedError:  # raised before any chunk was returned
                pass
        yield from self._read(None)

    def find_grid(self) -> Grid | None:
        """Return the sampling grid; for ``uniform``, all packets of the file are read first."""
        request = self.request
        if self.grid is None and request.sampling.kind == "rate":
            self.grid = RateGrid(request.sampling.fps, request.burst)
        elif self.grid is None and request.sampling.kind == "uniform":
            with self._opened() as video:
                reader = FrameReader(video, self.facts, cancelled=self.cancelled)
                self.grid = uniform_grid(reader, request.sampling.num_frames, request.span)
        return self.grid

    def find_numbers(self) -> FrameNumbers | None:
        """Return frame numbers for the kind ``all`` according to the packets; None for other kinds,
        and if the number of the first requested frame cannot be confirmed."""
        request = self.request
        proven = request.token_range.first == 0 or request.known_pts is not None
        if request.sampling.kind != "all" or not self.facts.seekable or not proven:
            return None
        with self._opened() as video, suppress(VideoDecodeError):
            # If the file cannot be read, the pass itself reports the error at its place.
            reader = FrameReader(video, self.facts, cancelled=self.cancelled)
            self.numbers = FrameNumbers.of(reader, request.span)
        return self.numbers

    def find_keyframes(self) -> list[Fraction]:
        """Return the player times of keyframes in the index of the container, for plans."""
        with self._opened() as video:
            return keyframe_times(video, self.facts)

    def _choice(self) -> FrameChoice | None:
        """Return the choice of the frames to decode, or None for all frames."""
        request = self.request
        if self.decode_all or not request.skip:
            return None
        if self.grid is not None:
            return GridChoice(self.grid, request.token_range, self.facts)
        if request.sampling.kind == "stride" and request.sampling.stride > 1:
            return StrideChoice(request.sampling.stride, request.span, self.facts)
        if self._threads > 1 and request.sampling.kind in ("all", "stride"):
            return every_frame
        return None

    @property
    def _threads(self) -> int:
        """Number of frames that the decoder may work on at the same time."""
        alone = self.one_thread or self.request.hardware is not None
        return 1 if alone else self.request.threads

    def _seek_target(self) -> Fraction | None:
        """Return the player time before which decoding must start for the first requested token."""
        request, facts, first = self.request, self.facts, self.request.token_range.first
        points = self.grid or (self.numbers if first else None)
        if not facts.seekable:
            return None
        if points is None:
            target = request.span.start
        else:
            if not first or not points.has(first):
                return None
            # Seek one token earlier; that token verifies the seek.
            target = points.time_of_token(first - 1)
            if request.known_pts is not None:
                target = min(target, facts.player_time(request.known_pts))
        return target if target > _MIN_SEEK_SECONDS else None

    def _next_part(self, open_parts: ExitStack) -> OpenedVideo | None:
        """Open the next part of a stream in place of the current one; None at its end."""
        medium = self.request.medium
        if not isinstance(medium, Feed):
            return None
        open_parts.close()
        if not medium.next_part():
            return None
        video = open_video(medium, max_pixels=self.request.max_pixels)
        open_parts.callback(video.close)
        return video

    @contextmanager
    def _opened(self) -> Iterator[OpenedVideo]:
        request, hardware = self.request, self.request.hardware
        with hardware.current() if hardware else nullcontext():
            video = open_video(
                request.medium,
                stream=request.stream_index,
                max_pixels=request.max_pixels,
                accelerator=hardware.accelerator() if hardware else None,
            )
        with closing(video):
            yield video

    @contextmanager
    def _begun_or_opened(self, seek_to: Fraction | None) -> Iterator[OpenedVideo]:
        """Continue the video that was left open, if this pass would have begun like that."""
        request = self.request
        begun = request.begun.take() if request.begun is not None else None
        if begun is not None:
            with closing(begun):
                plain = request.hardware is None and request.sampling.kind != "keyframes"
                if plain and seek_to is None and self._threads == 1:
                    yield begun
                    return
        with self._opened() as video:
            yield video

    def _read(self, seek_to: Fraction | None, *, certain: bool = False) -> Iterator[FrameChunk]:
        request = self.request
        if isinstance(request.medium, Feed):
            request.medium.play()
        counters = DecodeCounters()
        with self._begun_or_opened(seek_to) as video, ExitStack() as parts:
            reader = FrameReader(
                video,
                self.facts,
                keyframes_only=request.sampling.kind == "keyframes",
                choice=self._choice(),
                # These state the size of each packet beforehand, so a cut file is recognised.
                decode_last=not (self.facts.contiguous or video.is_format("matroska")),
                threads=self._threads,
                next_part=lambda: self._next_part(parts),
                cancelled=refusing(self.cancelled, counters)
                if request.hardware
                else self.cancelled,
                counters=counters,
            )
            if seek_to is not None:
                reader.seek(seek_to, certain=certain)
            timeline = FrameTimeline(reader, request.min_hold)

            def on_skipped(token: Token) -> None:
                reader.counters.reset()
                timeline.gaps.clear()

            def on_first(before: Token | None) -> None:
                self.before = before
                if seek_to is not None:
                    self._verify(before)

            chunks = chunked(
                self._tokens(timeline),
                request.chunk_size,
                request.token_range,
                take_stats=lambda: reader.counters.take(),
                on_skipped=on_skipped,
                on_first=on_first,
                path=request.path,
                stack=request.hardware.converter.stack if request.hardware else np.stack,
            )
            yield from undamaged(chunks) if request.hardware else chunks
            if seek_to is not None and not reader.counters.lifetime.num_frames:
                raise SeekUnverifiedError
            check_usable(request.path, reader)
            self.summary = summarize(reader, timeline)

    def _resizer(self) -> FrameResizer | SurfaceResizer:
        request = self.request
        path, fit, most = request.path, request.fit, request.max_pixels
        if request.hardware is not None:
            return SurfaceResizer(path, fit, request.hardware, max_pixels=most)
        return FrameResizer(path, fit, interpolation=request.interpolation, max_pixels=most)

    def _verify(self, before: Token | None) -> None:
        """After a seek, check that the token before the first requested one is the known one."""
        known, first = self.request.known_pts, self.request.token_range.first
        if known is not None and (before is None or before.pts != known):
            raise SeekUnverifiedError
        if self.numbers is not None and first and (before is None or before.index != first - 1):
            raise SeekUnverifiedError

    def _tokens(self, timeline: FrameTimeline) -> Iterator[Token]:
        request, grid, resize = self.request, self.grid, self._resizer()

        def convert(decoded: DecodedFrame) -> Pixels:
            if isinstance(decoded.frame, SkippedFrame):
                raise SkippingUnsafeError("a needed frame was not decoded")
            return resize(decoded.frame, decoded.aspect)

        if grid is None:
            every = request.sampling.stride if request.sampling.kind == "stride" else 1
            arguments = (timeline, every, request.span, request.token_range, convert)
            # The first decoded frame has number 0, even if packets precede it: leading frames of a
            # video cut at an open GOP are never displayed.
            if self.numbers is None or not request.token_range.first:
                return sample_frames(*arguments)
            return sample_frames(*arguments, first_number=self.numbers.first_at)
        counted = request.sampling.kind == "uniform"
        grace = _FIRST_FRAME_GRACE if counted else Fraction(0)
        return sample_grid(timeline, grid, request.token_range, convert, grace=grace)
