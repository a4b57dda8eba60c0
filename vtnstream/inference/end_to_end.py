"""End-to-end inference (paper section 3.4, first method): all frames through the whole model
in one pass. Memory grows with the video; it is the plain way the others are tested against.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.config import SamplingConfig
from vtnstream.errors import VideoDecodeError
from vtnstream.features.chunk import persistent_stats
from vtnstream.inference.decoding import end_record
from vtnstream.inference.partial import partial_result
from vtnstream.models.streaming import SequenceOutput
from vtnstream.models.vtn import VTN
from vtnstream.preprocess.pipeline import Preprocess
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.types import (
    DecodeSummary,
    Features,
    FloatArray,
    Partial,
    TimeRange,
    TokenTimes,
    VideoInfo,
)
from vtnstream.video.sampling import index_range
from vtnstream.video.source import VideoSource, open_video

_CHUNK = 32


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """One pass: ``features`` (T, D) with their times, logits of the model's heads, and what
    decoding met."""

    features: Features
    output: SequenceOutput
    info: VideoInfo
    summary: DecodeSummary
    partial: Partial | None


def run_end_to_end(
    path: str | Path,
    model: VTN,
    sampling: SamplingConfig,
    *,
    span: TimeRange | None = None,
    stream: int | None = None,
) -> EndToEnd:
    """All frames of a video through the whole model at once.

    Raises:
        VideoError: the video cannot be opened, or nothing of the range could be decoded.
    """
    span = span or TimeRange()
    frames, times, source = _decode_all(path, model, sampling, span, stream)
    device = next(model.parameters()).device
    prepare = Preprocess(model.config.preprocess)
    with torch.inference_mode():
        batch = prepare(frames, device=device, dtype=torch.float32)  # (T, 3, H, W)
        features = model.encode_frames(batch)  # (T, D)
        output = model.forward_features(
            features[None], indices=torch.from_numpy(times.indices)[None].to(device)
        )
    summary = source.summary
    stop = int(times.indices[-1]) + 1
    return EndToEnd(
        Features(features.cpu().numpy(), times),
        SequenceOutput(_first(output.logits), _first(output.dense_logits)),
        source.info,
        summary,
        partial_result(
            times,
            persistent_stats(summary.stats),
            source.info,
            sampling,
            span,
            end_record(stop, summary) if summary.reached_end else None,
        ),
    )


def _first(batch: torch.Tensor | None) -> FloatArray | None:
    return None if batch is None else batch[0].cpu().numpy()


def _decode_all(
    path: str | Path,
    model: VTN,
    sampling: SamplingConfig,
    span: TimeRange,
    stream: int | None,
) -> tuple[NDArray[np.uint8], TokenTimes, VideoSource]:
    """Every sampled frame of a range: (T, h, w, 3) uint8 with their times, and the exhausted
    source."""
    first, stop = index_range(sampling, span)
    preprocess = model.config.preprocess
    with open_video(
        path,
        sampling,
        fit=frame_fit(preprocess),
        interpolation=preprocess.interpolation,
        chunk_size=_CHUNK,
        first_index=first - first % _CHUNK,
        stop_index=stop,
        span=span,
        stream=stream,
    ) as source:
        chunks = [chunk for chunk in source.chunks() if len(chunk.times)]
    times = TokenTimes.concatenate([chunk.times for chunk in chunks])
    keep = times.indices >= first
    if stop is not None:
        keep &= times.indices < stop
    if not keep.any():
        raise VideoDecodeError(
            f"{path}: no frame could be decoded at {sampling.describe()} in the requested range"
        )
    low, high = np.flatnonzero(keep)[[0, -1]]
    part = slice(int(low), int(high) + 1)
    return np.concatenate([chunk.frames for chunk in chunks])[part], times[part], source
