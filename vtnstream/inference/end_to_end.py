"""End-to-end inference (paper section 3.4, first method): the whole model in one pass.

All frames are in memory at once; clips of a ViViT are cut out of them. Memory grows with the
video. The other methods are tested against this one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtnstream.config import SamplingConfig
from vtnstream.encoding.clips import FRAMES, InputShape
from vtnstream.encoding.model_inputs import InputSource, open_inputs
from vtnstream.encoding.partial import partial_result
from vtnstream.encoding.store_filling import end_record
from vtnstream.errors import VideoDecodeError
from vtnstream.features.chunk import persistent_stats
from vtnstream.models.architectures import VideoModel
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.models.vivit.model import ViViT
from vtnstream.preprocess.pipeline import Preprocess
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.scoring.clips import ClipLayout
from vtnstream.types import (
    DecodeSummary,
    Features,
    FloatArray,
    Partial,
    TimeRange,
    TokenTimes,
    VideoInfo,
)
from vtnstream.video.bars import Bars, find_bars
from vtnstream.video.probe import examine
from vtnstream.video.sampling.grid import index_range
from vtnstream.video.source import VideoSource

_CHUNK = 32


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """Result of one pass.

    Attributes:
        features: (T, D) with their times.
        output: logits of the model's heads; None if clips are still to be classified.
        info: the header of the video.
        summary: what decoding met.
        partial: why the range is incomplete, or None.
    """

    features: Features
    output: SequenceOutput | None
    info: VideoInfo
    summary: DecodeSummary
    partial: Partial | None


def run_end_to_end(
    path: str | Path,
    model: VideoModel,
    sampling: SamplingConfig,
    *,
    shape: InputShape = FRAMES,
    whole: bool = False,
    span: TimeRange | None = None,
    stream: int | None = None,
) -> EndToEnd:
    """Run all frames of a video through the whole model at once; for a ViViT, through its encoder.

    Args:
        path: the video.
        model: in evaluation mode.
        sampling: which frames.
        shape: input of one call of its encoder.
        whole: let a ViViT that supports it read all tokens as one sequence, too.
        span, stream: which part.

    Raises:
        VideoError: the video cannot be opened, or no frame of the range could be decoded.
    """
    span = span or TimeRange()
    shape.check(sampling)
    frames, times, source = _decode_all(path, model, sampling, shape, span, stream)
    device = next(model.parameters()).device
    prepare = Preprocess(model.config.preprocess)
    with torch.inference_mode():
        pictures = prepare(frames, device=device, dtype=torch.float32)  # (T, 3, t * H, W)
        features = _encode_tokens(model, pictures, times, shape)  # (T, D)
        output = None
        if whole or not isinstance(model, ViViT):
            indices = torch.from_numpy(times.indices)[None].to(device)
            output = model.forward_features(features[None], indices=indices)
    summary = source.summary
    stop = int(times.indices[-1]) + 1
    return EndToEnd(
        Features(features.cpu().numpy(), times),
        output and SequenceOutput(_first(output.logits), _first(output.dense_logits)),
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


def _encode_tokens(
    model: VideoModel, pictures: Tensor, times: TokenTimes, shape: InputShape
) -> Tensor:
    """Encode tokens (T, 3, t * H, W), whose frames are stacked vertically, to features (T, D).
    If the model encodes clips, tokens at which no clip begins get zeros."""
    if not isinstance(model, ViViT):
        return model.encode_frames(pictures)
    count = shape.burst.frames
    size, colours, height, width = pictures.shape
    frames = pictures.reshape(size, colours, count, height // count, width).transpose(1, 2)
    if not shape.clip:
        return model.encode_frames(frames)
    features = pictures.new_zeros(len(pictures), model.num_features)
    for stretch in ClipLayout(shape.clip, shape.hop).spans(times):
        for clip in stretch:
            own = frames[clip.first : clip.stop].flatten(0, 1)
            missing = shape.clip * count - len(own)
            own = torch.cat((own, own[-1:].expand(missing, -1, -1, -1)))
            features[clip.first] = model.encode_frames(own[None])[0]
    return features


def _first(batch: torch.Tensor | None) -> FloatArray | None:
    return None if batch is None else batch[0].cpu().numpy()


def _decode_all(
    path: str | Path,
    model: VideoModel,
    sampling: SamplingConfig,
    shape: InputShape,
    span: TimeRange,
    stream: int | None,
) -> tuple[NDArray[np.uint8], TokenTimes, VideoSource | InputSource]:
    """Decode every token of a range: (T, h, w, 3) uint8, their times, and the exhausted source."""
    first, stop = index_range(sampling, span)
    preprocess = model.config.preprocess
    cropped = preprocess.bars == "crop"
    bars = find_bars(path, examine(path, stream=stream)) if cropped else Bars()
    with open_inputs(
        path,
        sampling,
        replace(shape, clip=0),
        fit=bars.without(frame_fit(preprocess)),
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
