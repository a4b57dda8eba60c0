"""Read the clips of multi-view inference: their start times and their frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import ModelConfig, SamplingConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.encoding.clips import FRAMES, InputShape
from vtnstream.encoding.model_inputs import open_inputs
from vtnstream.errors import UsageError
from vtnstream.preprocess.views import uncropped_fit
from vtnstream.types import FrameChunk, IndexArray, TimeRange, TokenTimes, VideoInfo
from vtnstream.video.sampling.grid import index_range

_CHUNK = 16


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """One clip: tokens (T, t * h, w, 3) uint8, scaled and not cropped, the t frames of a token
    stacked vertically, with their times and the position indices (T,) for the temporal
    encoder."""

    frames: NDArray[np.uint8]
    times: TokenTimes
    positions: IndexArray


def clip_starts(
    info: VideoInfo, views: ViewsConfig, sampling: SamplingConfig, span: TimeRange, path: str
) -> list[Fraction]:
    """Return the times at which clips start: ``delta * i / num_clips``, where delta is the
    length of the video minus that of a clip, as in the reference implementation; with a rate,
    on its grid.

    Raises:
        UsageError: the length of the video is unknown, or the range lies behind its end.
    """
    end = info.duration_from_header if span.end is None else span.end
    if end is None:
        raise UsageError(f"{path}: its length is unknown: give --end, or remux it first")
    if info.duration_from_header is not None:
        end = min(end, info.duration_from_header)
    if end <= span.start:
        raise UsageError(f"{path}: no frame in the requested range: choose another --start / --end")
    length = _clip_length(views, sampling)
    delta = max(end - span.start - length, Fraction(0))
    starts = [span.start + delta * i / views.num_clips for i in range(views.num_clips)]
    if sampling.kind == "rate":
        starts = [ceil(start * sampling.fps) / sampling.fps for start in starts]
    return list(dict.fromkeys(starts))  # a video no longer than a clip has one


def _clip_length(views: ViewsConfig, sampling: SamplingConfig) -> Fraction:
    """Return the length of a clip in seconds."""
    return views.num_frames / sampling.fps if sampling.kind == "rate" else views.clip_seconds


def read_clip(
    path: str | Path,
    config: ModelConfig,
    views: ViewsConfig,
    sampling: SamplingConfig,
    start: Fraction,
    info: VideoInfo,
    shape: InputShape = FRAMES,
) -> tuple[Clip | None, int, tuple[str, ...]]:
    """Read the frames of one clip; return also the number of decoded frames and the problems."""
    span = TimeRange(start, start + _clip_length(views, sampling))
    picks = None
    grid = sampling
    if sampling.kind != "rate":
        rate = info.average_rate or Fraction(25)
        last = max(round(views.clip_seconds * rate) - 1, 0)
        picks = np.floor(np.linspace(0, last, views.num_frames)).astype(np.int64)
        grid = SamplingConfig(kind="all")
    first, stop = index_range(grid, span)
    with open_inputs(
        path,
        grid,
        replace(shape, clip=0),
        fit=uncropped_fit(config.preprocess),
        interpolation=config.preprocess.interpolation,
        chunk_size=_CHUNK,
        first_index=first - first % _CHUNK,
        stop_index=stop,
        span=span,
        stream=info.stream_index,
    ) as source:
        chunks = source.chunks()
        with closing(chunks):
            frames, times = _collected(chunks, first, picks)
        summary = source.summary
    if not len(times):
        return None, summary.stats.num_frames, ("no frame could be decoded",)
    if picks is None:
        relative = config.temporal.window_positions == "clip"
        positions = times.indices - (first if relative else 0)
    else:
        positions = picks[: len(times)]  # indices in the decoded buffer, as the reference counts
    return Clip(frames, times, positions), summary.stats.num_frames, summary.problems


def _collected(
    chunks: Iterator[FrameChunk], first: int, picks: IndexArray | None
) -> tuple[NDArray[np.uint8], TokenTimes]:
    """Pick the wanted frames out of a clip's chunks; with ``picks``, frames of these numbers,
    and the last frame for numbers beyond it."""
    kept: list[NDArray[np.uint8]] = []
    times: list[TokenTimes] = []
    seen = 0
    for chunk in chunks:
        if picks is None:
            keep = np.flatnonzero(chunk.times.indices >= first)
        else:
            keep = picks[(picks >= seen) & (picks < seen + len(chunk.times))] - seen
        seen += len(chunk.times)
        kept.append(chunk.frames[keep])
        times.append(rows_of(chunk.times, keep))
        newest = (chunk.frames[-1:], chunk.times[-1:])
    if not seen:
        return np.empty((0, 1, 1, 3), np.uint8), TokenTimes.empty()
    if picks is not None:
        short = len(picks) - sum(len(part) for part in times)
        kept += [newest[0]] * short
        times += [newest[1]] * short
    return np.concatenate(kept), TokenTimes.concatenate(times)


def rows_of(times: TokenTimes, keep: IndexArray) -> TokenTimes:
    """Return some of the tokens."""
    return TokenTimes(
        times.indices[keep], times.pts[keep], times.start_seconds[keep], times.end_seconds[keep]
    )
