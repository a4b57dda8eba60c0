"""Read a video as a stream of model inputs: single frames, bursts of frames, or clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from vtnstream.config import SamplingConfig
from vtnstream.encoding.clip_cutting import ClipCutter
from vtnstream.encoding.clips import InputShape, grouped
from vtnstream.types import DecodeSummary, FrameChunk, FrameFit, TimeRange, TokenTimes, VideoInfo
from vtnstream.video.decoding.hardware import Hardware
from vtnstream.video.probe import Examined
from vtnstream.video.sampling.grid import index_range
from vtnstream.video.source import ChunkIterator, VideoSource, open_video


def open_inputs(
    path: str | Path,
    sampling: SamplingConfig,
    shape: InputShape,
    *,
    fit: FrameFit,
    interpolation: str,
    chunk_size: int,
    first_index: int = 0,
    stop_index: int | None = None,
    before: TokenTimes | None = None,
    span: TimeRange | None = None,
    known_pts: int | None = None,
    stream: int | None = None,
    decoders: int = 1,
    hardware: Hardware | None = None,
    examined: Examined | None = None,
) -> VideoSource | InputSource:
    """Open a video for a frame encoder; see :func:`vtnstream.video.source.open_video`.

    Indices count tokens, not frames: a token may consist of several frames.

    Args:
        before: the gap-free tokens that an earlier pass read up to ``first_index``.
    """
    size = shape.burst.frames
    low, high = index_range(sampling, span or TimeRange())
    until = stop_index
    if stop_index is not None and shape.clip:  # clips that begin before it may end after it
        until = stop_index + shape.clip
        until = until if high is None else max(stop_index, min(until, high))
    source = open_video(
        path,
        sampling,
        fit=fit,
        interpolation=interpolation,
        chunk_size=chunk_size * size,
        first_index=first_index * size,
        stop_index=None if until is None else until * size,
        span=span,
        known_pts=known_pts,
        burst=shape.burst,
        stream=stream,
        decoders=decoders,
        hardware=hardware,
        examined=examined,
    )
    if shape.is_single:
        return source
    clips = None
    if shape.clip:
        earlier = before or TokenTimes.empty()
        clips = partial(ClipCutter, shape, low, high, stop_index, earlier)
    return InputSource(source, size, clips)


class InputSource:
    """Model inputs of one video, with the interface of a :class:`VideoSource`."""

    def __init__(
        self, source: VideoSource, size: int, clips: Callable[[], ClipCutter] | None
    ) -> None:
        self._source = source
        self._size = size
        self._clips = clips
        self._cutter: ClipCutter | None = None

    def __enter__(self) -> InputSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._source.close()

    @property
    def info(self) -> VideoInfo:
        """The header of the video."""
        return self._source.info

    @property
    def summary(self) -> DecodeSummary:
        """Summary of the pass, once it is complete. A pass that read beyond the last requested
        token does not report the end of the video as the end of these tokens."""
        summary = self._source.summary
        if self._cutter is not None and self._cutter.has_passed_stop:
            return replace(summary, reached_end=False)
        return summary

    def chunks(self) -> InputIterator:
        """Decode and group frames; errors are those of the video source."""
        frames = self._source.chunks()
        samples = (grouped(chunk, self._size) for chunk in frames)
        if self._clips is None:
            return InputIterator(frames, samples)
        self._cutter = self._clips()
        return InputIterator(frames, self._cutter.cut(samples))


class InputIterator:
    """Iterator over chunks of model inputs; another thread may stop it."""

    def __init__(self, frames: ChunkIterator, samples: Iterator[FrameChunk]) -> None:
        self._frames = frames
        self._samples = samples

    def __iter__(self) -> InputIterator:
        return self

    def __next__(self) -> FrameChunk:
        return next(self._samples)

    def cancel(self) -> None:
        """End the iteration at the next packet."""
        self._frames.cancel()

    def close(self) -> None:
        """Stop the iteration and close the file."""
        self._frames.close()
