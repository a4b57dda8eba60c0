"""Multi-view inference (paper section 4.1): several short clips and crops of one video, the
mean of their probabilities. What published numbers of clip models are made with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.config import ModelConfig, SamplingConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.inference.encoder import FrameEncoder
from vtnstream.inference.sample_source import open_samples
from vtnstream.inference.samples import FRAMES, SampleShape
from vtnstream.models.architectures import VideoModel
from vtnstream.models.streaming import SequenceOutput
from vtnstream.models.vivit import ViViT
from vtnstream.preprocess.views import crop_corners, uncropped_fit
from vtnstream.progress import Progress
from vtnstream.timecode import format_time
from vtnstream.types import (
    Features,
    FloatArray,
    FrameChunk,
    IndexArray,
    Partial,
    TimeRange,
    TokenTimes,
    VideoInfo,
)
from vtnstream.video.probe import probe
from vtnstream.video.sampling import index_range

_CHUNK = 16


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Tokens (T, t * h, w, 3) uint8, scaled and not cropped, the t frames of one below the
    other, with their times and the position indices (T,) the temporal encoder gets."""

    frames: NDArray[np.uint8]
    times: TokenTimes
    positions: IndexArray


@dataclass(frozen=True, slots=True, eq=False)
class MultiView:
    """``output`` holds logits (K,) whose probabilities are the mean over all views;
    ``features`` (T, D) are those of the middle crop, every frame once."""

    features: Features
    output: SequenceOutput
    info: VideoInfo
    partial: Partial | None
    num_views: int
    num_frames_decoded: int


def run_multi_view(
    path: str | Path,
    model: VideoModel,
    encoder: FrameEncoder,
    views: ViewsConfig,
    sampling: SamplingConfig,
    *,
    span: TimeRange | None = None,
    stream: int | None = None,
    progress: Progress,
) -> MultiView:
    """Classify a video by clips and crops.

    Args:
        path: the video.
        model: in evaluation mode, with a class head.
        encoder: its frame encoder.
        views: how many, and how long; clips of a ViViT are as long as it was made for.
        sampling: with a rate, a clip is that many tokens of this grid; with any other kind
            it is ``floor(linspace(0, n - 1, T))`` of the n frames of ``clip_seconds``, as
            the paper's reference does it.
        span: range of source time to spread the clips over.
        stream: index of the video stream.
        progress: told of each clip.

    Raises:
        UsageError: the video's length is unknown, or the geometry allows no such crops.
        VideoError: nothing could be decoded.
    """
    if isinstance(model, ViViT):
        views = _of_vivit(model, views, sampling)
    info = probe(path, stream=stream)
    starts = clip_starts(info, views, sampling, span or TimeRange(), str(path))
    progress.start(Path(path).name, total=len(starts), unit="clips")
    rows: list[FloatArray] = []
    parts: list[tuple[TokenTimes, FloatArray]] = []
    problems: list[str] = []
    decoded = 0
    try:
        for number, start in enumerate(starts, 1):
            clip, count, met = read_clip(
                path, model.config, views, sampling, start, info, encoder.shape
            )
            decoded += count
            problems += [f"clip {number} at {format_time(start, digits=2)}: {what}" for what in met]
            if clip is not None:
                logits, values = _encode(model, encoder, clip, views.num_crops)
                rows.append(logits)
                parts.append((_rows(clip.times, np.arange(len(values))), values))
            progress.advance(number)
    finally:
        progress.finish()
    if not rows:
        raise VideoDecodeError(f"{path}: none of {len(starts)} clips could be decoded")
    views_logits = np.concatenate(rows)  # (views, K)
    features = _distinct(parts)
    mean = _mean_logits(views_logits, model.config.head.multi_label)
    return MultiView(
        features=features,
        output=SequenceOutput(mean, None),
        info=info,
        partial=_partial(problems, features.times),
        num_views=len(views_logits),
        num_frames_decoded=decoded,
    )


def _of_vivit(model: ViViT, views: ViewsConfig, sampling: SamplingConfig) -> ViewsConfig:
    """Clips of the model's own length.

    Raises:
        UsageError: its tokens do not lie on a grid of time.
    """
    if sampling.kind != "rate":
        raise UsageError(
            f"--views of a vivit need samples at a rate, not {sampling.kind}: say --fps"
        )
    return replace(views, num_frames=model.vivit.clip_tokens)


def clip_starts(
    info: VideoInfo, views: ViewsConfig, sampling: SamplingConfig, span: TimeRange, path: str
) -> list[Fraction]:
    """Player times at which the clips start: ``delta * i / num_clips`` with delta the time a
    clip leaves over, as the reference spaces them; with a rate, on its grid.

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
    length = clip_length(views, sampling)
    delta = max(end - span.start - length, Fraction(0))
    starts = [span.start + delta * i / views.num_clips for i in range(views.num_clips)]
    if sampling.kind == "rate":
        starts = [ceil(start * sampling.fps) / sampling.fps for start in starts]
    return list(dict.fromkeys(starts))  # a video no longer than a clip has one


def clip_length(views: ViewsConfig, sampling: SamplingConfig) -> Fraction:
    """Seconds a clip covers."""
    return views.num_frames / sampling.fps if sampling.kind == "rate" else views.clip_seconds


def read_clip(
    path: str | Path,
    config: ModelConfig,
    views: ViewsConfig,
    sampling: SamplingConfig,
    start: Fraction,
    info: VideoInfo,
    shape: SampleShape = FRAMES,
) -> tuple[Clip | None, int, tuple[str, ...]]:
    """The frames of one clip, how many were decoded for it, and what went wrong."""
    span = TimeRange(start, start + clip_length(views, sampling))
    picks = None
    grid = sampling
    if sampling.kind != "rate":
        rate = info.average_rate or Fraction(25)
        last = max(round(views.clip_seconds * rate) - 1, 0)
        picks = np.floor(np.linspace(0, last, views.num_frames)).astype(np.int64)
        grid = SamplingConfig(kind="all")
    first, stop = index_range(grid, span)
    with open_samples(
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
    """The wanted frames out of a clip's chunks; with ``picks`` those frame numbers, the last
    frame there is standing for numbers behind it."""
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
        times.append(_rows(chunk.times, keep))
        newest = (chunk.frames[-1:], chunk.times[-1:])
    if not seen:
        return np.empty((0, 1, 1, 3), np.uint8), TokenTimes.empty()
    if picks is not None:
        short = len(picks) - sum(len(part) for part in times)
        kept += [newest[0]] * short
        times += [newest[1]] * short
    return np.concatenate(kept), TokenTimes.concatenate(times)


def _rows(times: TokenTimes, keep: IndexArray) -> TokenTimes:
    return TokenTimes(
        times.indices[keep], times.pts[keep], times.start_seconds[keep], times.end_seconds[keep]
    )


@torch.inference_mode()
def _encode(
    model: VideoModel, encoder: FrameEncoder, clip: Clip, num_crops: int
) -> tuple[FloatArray, FloatArray]:
    """Logits (crops, K) of one clip and the features (T, D) of its middle crop: (1, D) where
    the model has one vector a clip."""
    count = encoder.shape.burst.frames
    stacked, width = clip.frames.shape[1:3]
    config = model.config.preprocess
    across, down = config.frame_width, config.size
    frames = clip.frames.reshape(len(clip.frames), count, stacked // count, width, 3)
    values = [
        encoder.encode(
            _samples(frames[:, :, top : top + down, left : left + across], encoder.shape)
        )
        for left, top in crop_corners(config, width, stacked // count, num_crops)
    ]
    device = next(model.parameters()).device
    features = torch.from_numpy(np.stack(values)).to(device)  # (crops, T, D)
    positions = torch.from_numpy(clip.positions[: features.shape[1]]).to(device)
    indices = positions.expand(num_crops, -1)
    logits = model.forward_features(features, indices=indices).logits  # (crops, K)
    assert logits is not None
    return logits.float().cpu().numpy(), values[num_crops // 2]


def _samples(frames: NDArray[np.uint8], shape: SampleShape) -> NDArray[np.uint8]:
    """Frames (T, t, h, w, 3) as the encoder takes them, one below the other: a token each, or
    all of the clip, filled up with its last frame."""
    tokens, count, height, width, _ = frames.shape
    if not shape.clip:
        return np.ascontiguousarray(frames).reshape(tokens, count * height, width, 3)
    flat = frames.reshape(-1, height, width, 3)
    missing = shape.frames_at_once - len(flat)
    flat = np.concatenate((flat, np.repeat(flat[-1:], missing, axis=0)))
    return flat.reshape(1, -1, width, 3)


def _mean_logits(logits: FloatArray, multi_label: bool) -> FloatArray:
    """Logits (K,) whose probabilities are the mean of those of (views, K)."""
    wide = logits.astype(np.float64)
    if multi_label:
        mean = (1 / (1 + np.exp(-wide))).mean(0).clip(1e-300, 1 - 1e-16)
        result = np.log(mean) - np.log1p(-mean)
    else:
        wide = np.exp(wide - wide.max(1, keepdims=True))
        mean = (wide / wide.sum(1, keepdims=True)).mean(0)
        result = np.log(mean.clip(1e-300))
    return np.asarray(result, np.float32)


def _distinct(parts: list[tuple[TokenTimes, FloatArray]]) -> Features:
    """Every frame of all clips once, in order of time."""
    times = TokenTimes.concatenate([times for times, _ in parts])
    values = np.concatenate([values for _, values in parts])
    _, keep = np.unique(times.pts, return_index=True)
    kept = _rows(times, keep)
    numbered = TokenTimes(
        np.arange(len(keep), dtype=np.int64), kept.pts, kept.start_seconds, kept.end_seconds
    )
    return Features(values[keep], numbered)


def _partial(problems: list[str], times: TokenTimes) -> Partial | None:
    if not problems:
        return None
    read = float((times.end_seconds - times.start_seconds).sum())
    return Partial(reasons=tuple(problems), seconds_read=read, seconds_expected=None)
