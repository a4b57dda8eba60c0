"""Multi-view inference (paper section 4.1): several short clips and crops of one video, the
mean of their probabilities. What published numbers of clip models are made with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.config import SamplingConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.encoding.clips import SampleShape
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.inference.view_clips import Clip, clip_starts, read_clip, rows_of
from vtnstream.models.architectures import VideoModel
from vtnstream.models.long_sequence.streaming import SequenceOutput
from vtnstream.models.vivit.model import ViViT
from vtnstream.preprocess.views import crop_corners
from vtnstream.progress import Progress
from vtnstream.timecode import format_time
from vtnstream.types import (
    Features,
    FloatArray,
    Partial,
    TimeRange,
    TokenTimes,
    VideoInfo,
)
from vtnstream.video.probe import probe


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
                parts.append((rows_of(clip.times, np.arange(len(values))), values))
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
    kept = rows_of(times, keep)
    numbered = TokenTimes(
        np.arange(len(keep), dtype=np.int64), kept.pts, kept.start_seconds, kept.end_seconds
    )
    return Features(values[keep], numbered)


def _partial(problems: list[str], times: TokenTimes) -> Partial | None:
    if not problems:
        return None
    read = float((times.end_seconds - times.start_seconds).sum())
    return Partial(reasons=tuple(problems), seconds_read=read, seconds_expected=None)
