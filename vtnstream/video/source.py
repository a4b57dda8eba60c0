"""Open a video for sampling: the entry point of inference and training to this package."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Generator
from types import TracebackType

from vtnstream.config import SamplingConfig
from vtnstream.registry import lookup
from vtnstream.transport.address import is_address
from vtnstream.transport.feed import Feed
from vtnstream.transport.media import Medium
from vtnstream.types import DecodeSummary, FrameChunk, FrameFit, TimeRange, VideoInfo
from vtnstream.video.container import DEFAULT_MAX_PIXELS
from vtnstream.video.decoding.hardware import Hardware
from vtnstream.video.decoding.reader import CancelledError
from vtnstream.video.decoding.sparse import has_frame_threads
from vtnstream.video.probe import Examined, StreamFacts, examine
from vtnstream.video.resize import INTERPOLATIONS
from vtnstream.video.sampling import pieces
from vtnstream.video.sampling.grid import SINGLE, Burst
from vtnstream.video.sampling.parallel import ParallelPass
from vtnstream.video.sampling.passes import Pass, ReadRequest
from vtnstream.video.sampling.samplers import TokenRange

_MOST_FRAME_THREADS = 5
"""Largest number of frames that one decoder works on; each holds a whole frame in memory."""

_SHORTEST_DIVIDED = 4
"""Seconds; length from which a video is divided whose decoder works on one frame at a time."""


def open_video(
    medium: Medium,
    sampling: SamplingConfig,
    *,
    fit: FrameFit,
    interpolation: str = "bicubic",
    chunk_size: int = 32,
    first_index: int = 0,
    stop_index: int | None = None,
    span: TimeRange | None = None,
    known_pts: int | None = None,
    burst: Burst = SINGLE,
    stream: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    skip: bool = True,
    decoders: int = 1,
    hardware: Hardware | None = None,
    examined: Examined | None = None,
) -> VideoSource:
    """Open a video for sampling.

    Args:
        medium: a local file, a URL, or a stream, which can be read once and without ``skip``.
        sampling: selection of the frames.
        fit: displayed (width, height) -> scaling and cropping for the model.
        interpolation: ``bicubic``, ``bilinear``, ``area`` or ``lanczos``.
        chunk_size: tokens per chunk.
        first_index: first token to return, a multiple of ``chunk_size``.
        stop_index: one past the last token to return.
        span: range of player time for ``uniform``, ``stride``, ``all`` and ``keyframes``; with
            ``rate`` the indices determine the range.
        known_pts: pts of the last token before ``first_index`` in an earlier run; a seek is checked
            against it.
        burst: frames per token; indices and chunks then count frames.
        stream: index of the video stream in the container; None chooses as ffmpeg does.
        max_pixels: larger frames are rejected.
        skip: whether frames that the sampling does not need may be left undecoded.
        decoders: largest number of parts of a local file to decode at the same time, each in its
            own thread. The chunks and their order stay the same; some wait in memory
            (:func:`vtnstream.video.sampling.pieces.frames_waiting`). With more than one, a decoder
            that is alone works on several frames at the same time, if ``skip``.
        hardware: decodes on a GPU; its converter then makes the frames. Iterating raises
            HardwareRefusedError if the result might differ from software decoding.
        examined: result of :func:`vtnstream.video.probe.examine` for this medium and stream, which
            avoids examining it again. If it was left open, the first pass continues it where it
            can, and otherwise closes it.

    Raises:
        VideoOpenError, NoVideoStreamError, UsageError: see :func:`vtnstream.video.probe.probe`.
        ValueError: ``first_index`` is not a multiple of ``chunk_size``, or ``decoders`` is below 1.
    """
    if decoders < 1:
        raise ValueError(f"decoders must be at least 1, not {decoders}")
    if chunk_size < 1 or first_index < 0 or first_index % chunk_size:
        raise ValueError(f"first_index {first_index} is not a multiple of chunk_size {chunk_size}")
    lookup(INTERPOLATIONS, interpolation, "interpolation")
    examined = examined or examine(medium, stream=stream, max_pixels=max_pixels)
    info, facts, begun = examined
    request = ReadRequest(
        medium=medium,
        path=info.path,
        stream_index=info.stream_index,
        sampling=sampling,
        fit=fit,
        interpolation=interpolation,
        chunk_size=chunk_size,
        token_range=TokenRange(first_index, stop_index),
        span=TimeRange() if span is None or sampling.kind == "rate" else span,
        known_pts=known_pts,
        burst=burst,
        max_pixels=max_pixels,
        skip=skip,
        threads=_frame_threads(decoders),
        hardware=hardware,
        begun=begun,
    )
    # Each decoder opens the medium itself, so there is only one for servers and streams.
    alone = isinstance(medium, Feed) or is_address(medium) or not _can_be_split(info, facts)
    return VideoSource(info, facts, request, 1 if alone else decoders)


def _frame_threads(decoders: int) -> int:
    """Return how many frames a decoder that is alone works on: one more than there are cores, as
    its own thread also scales frames."""
    return 1 if decoders == 1 else min(decoders + 1, _MOST_FRAME_THREADS)


def _can_be_split(info: VideoInfo, facts: StreamFacts) -> bool:
    """Return whether a file is long enough for several decoders, as far as its header says."""
    end = facts.header_end or facts.container_end
    least = pieces.SHORTEST_PIECE if has_frame_threads(info.codec_name) else _SHORTEST_DIVIDED
    return facts.seekable and end is not None and end >= least


class VideoSource:
    """The sampled frames of one video. Leaving the context stops iterations that still run.

    Attributes:
        info: header of the video.
    """

    def __init__(
        self, info: VideoInfo, facts: StreamFacts, request: ReadRequest, decoders: int = 1
    ) -> None:
        self.info = info
        self._facts = facts
        self._request = request
        self._decoders = decoders
        self._last_pass: Pass | ParallelPass | None = None
        # Weak references, so that an unused iterator closes its file at once.
        self._iterators: weakref.WeakSet[ChunkIterator] = weakref.WeakSet()

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop iterations that still run and close their files. May be called twice."""
        for iterator in list(self._iterators):
            iterator.close()

    @property
    def summary(self) -> DecodeSummary:
        """Summary of the last pass.

        Raises:
            RuntimeError: the chunks have not been read to the end.
        """
        summary = self._last_pass.summary if self._last_pass else None
        if summary is None:
            raise RuntimeError("the summary exists once all chunks have been read")
        return summary

    def chunks(self) -> ChunkIterator:
        """Decode from the chunk of ``first_index`` on. Chunks without tokens (in a gap) are left
        out.

        Raises (while iterating):
            VideoDecodeError: no usable frame could be decoded.
            VideoOpenError: the file no longer exists.
        """
        cancelled = threading.Event()
        request, facts, left = self._request, self._facts, cancelled.is_set
        if self._decoders > 1:
            size = self._frame_bytes()
            at_once = request.hardware is None and not has_frame_threads(self.info.codec_name)
            self._last_pass = ParallelPass(request, facts, left, self._decoders, size, at_once)
        else:
            self._last_pass = Pass(request, facts, left)
        iterator = ChunkIterator(self._last_pass.chunks(), cancelled)
        self._iterators.add(iterator)
        return iterator

    def _frame_bytes(self) -> int:
        """Return the size of a model frame in bytes, or an upper bound if the header has no frame
        size."""
        if not self.info.width or not self.info.height:
            return 3 * self._request.max_pixels
        fit = self._request.fit(self.info.width, self.info.height)
        return 3 * fit.crop_width * fit.crop_height


class ChunkIterator:
    """An iterator over chunks that any thread can stop."""

    def __init__(
        self, chunks: Generator[FrameChunk, None, None], cancelled: threading.Event
    ) -> None:
        self._chunks = chunks
        self._cancelled = cancelled

    def __iter__(self) -> ChunkIterator:
        return self

    def __next__(self) -> FrameChunk:
        try:
            return next(self._chunks)
        except CancelledError:
            raise StopIteration from None

    def cancel(self) -> None:
        """End the iteration at the next packet, in whichever thread it runs."""
        self._cancelled.set()

    def close(self) -> None:
        """Stop and close the file; if another thread is decoding, that thread does it."""
        self.cancel()
        with contextlib.suppress(ValueError):  # "generator already executing"
            self._chunks.close()
