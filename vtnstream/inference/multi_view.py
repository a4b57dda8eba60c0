"""Multi-view inference (paper section 4.1): the mean over several short clips and crops of a
video.

Published accuracies of clip models are measured this way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.config import SamplingConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.encoding.clips import InputShape
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.inference.view_clips import Clip, clip_starts, read_clip, rows_of
from vtnstream.models.architectures import VideoModel
from vtnstream.models.long_sequence.output import SequenceOutput
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
    """Result over all views.

    ``output`` holds logits (K,) whose probabilities are the mean over all views; ``features``
    (T, D) are those of the centre crop, each frame once.
    """

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
        views: number and length of the clips; clips of a ViViT have the model's own length.
        sampling: with a rate, a clip is that many tokens of this grid. With any other kind it is
            ``floor(linspace(0, n - 1, T))`` of the n frames of ``clip_seconds``, as in the
            reference implementation.
        span: range of source time over which the clips are spread.
        stream: index of the video stream.
        progress: receives the number of finished clips.

    Raises:
        UsageError: the length of the video is unknown, or the geometry does not allow such crops.
        VideoError: no frame could be decoded.
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
    head = model.config.head
    mean = np.concatenate(
        [_mean_logits(views_logits[:, part.columns], head.multi_label) for part in head.class_heads]
    )
    return MultiView(
        features=features,
        output=SequenceOutput(mean, None),
        info=info,
        partial=_partial(problems, features.times),
        num_views=len(views_logits),
        num_frames_decoded=decoded,
    )


def _of_vivit(model: ViViT, views: ViewsConfig, sampling: SamplingConfig) -> ViewsConfig:
    """Return views with clips of the model's own length.

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
    """Return logits (crops, K) of one clip and features (T, D) of its centre crop: (1, D) if the
    model has one vector per clip."""
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


def _samples(frames: NDArray[np.uint8], shape: InputShape) -> NDArray[np.uint8]:
    """Arrange frames (T, t, h, w, 3) as the encoder expects them: stacked per token, or the
    whole clip, padded with its last frame."""
    tokens, count, height, width, _ = frames.shape
    if not shape.clip:
        return np.ascontiguousarray(frames).reshape(tokens, count * height, width, 3)
    flat = frames.reshape(-1, height, width, 3)
    missing = shape.frames_at_once - len(flat)
    flat = np.concatenate((flat, np.repeat(flat[-1:], missing, axis=0)))
    return flat.reshape(1, -1, width, 3)


def _mean_logits(logits: FloatArray, multi_label: bool) -> FloatArray:
    """Return logits (K,) whose probabilities are the mean of those of (views, K)."""
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
    """Return each frame of all clips once, ordered by time."""
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
