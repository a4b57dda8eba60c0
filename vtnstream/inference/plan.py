"""What a run would take, before starting it: frames, tokens, memory, disk and time.

Counts come from the header and are estimates; times are measured on the first seconds of
the video with the real decoder and the real backbone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.config.runtime import default_cache_dir
from vtnstream.errors import VideoDecodeError
from vtnstream.features.cache import FeatureCache
from vtnstream.features.key import FileState
from vtnstream.inference.encoder import FrameEncoder, limit_threads
from vtnstream.inference.extract import feature_key
from vtnstream.inference.sample_source import open_samples
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.types import TimeRange, VideoInfo
from vtnstream.video.probe import probe
from vtnstream.video.sampling import estimate_num_tokens, index_range

_QUEUED_BATCHES = 5
"""Two in the queue, one each in the decoder's and the backbone's hands, one being joined."""
_SAMPLED_BATCHES = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """Estimates for one video and model.

    Attributes:
        info: the header.
        num_frames: frames in the range by the header, None where unknown.
        num_tokens: tokens the temporal encoder would read.
        num_stored_tokens: tokens already in the feature store.
        disk_bytes: features on disk.
        pipeline_bytes: frames waiting between decoder and backbone.
        temporal_bytes: the bound on what the temporal encoder and the timeline add.
        weights_bytes: parameters and buffers.
        frames_per_second: tokens a second through decoder and backbone, measured.
        seconds: time for the tokens not stored yet; None where tokens are unknown.
    """

    info: VideoInfo
    num_frames: int | None
    num_tokens: int | None
    num_stored_tokens: int
    disk_bytes: int | None
    pipeline_bytes: int
    temporal_bytes: int | None
    weights_bytes: int
    frames_per_second: float
    seconds: float | None


def temporal_bound_bytes(num_tokens: int, hidden_size: int, num_classes: int) -> int:
    """The stated bound on anonymous memory that ``timeline`` adds: 2.5 states of the encoder
    and three score tables, all float32."""
    return int(2.5 * num_tokens * hidden_size * 4 + 3 * num_tokens * num_classes * 4)


def plan(
    path: str | Path,
    encoder: FrameEncoder,
    sampling: SamplingConfig,
    *,
    hidden_size: int = 0,
    num_classes: int = 0,
    weights_bytes: int = 0,
    span: TimeRange | None = None,
    runtime: RuntimeConfig | None = None,
    stream: int | None = None,
) -> Plan:
    """Estimate a run over ``path`` without storing anything.

    Args:
        path: the video.
        encoder: its frames would go through this.
        sampling: which frames.
        hidden_size: the temporal encoder's D, 0 for ``extract``.
        num_classes: labels of the timeline.
        weights_bytes: size of the whole model.
        span, runtime, stream: as for :func:`vtnstream.inference.extract.extract_features`.

    Raises:
        VideoError: the video cannot be opened or decoded.
    """
    span = span or TimeRange()
    runtime = runtime or RuntimeConfig()
    limit_threads(runtime)
    info = probe(path, stream=stream)
    encoder.shape.check(sampling)
    tokens = encoder.shape.count_tokens(estimate_num_tokens(info, sampling, span), sampling)
    stored = _stored_tokens(path, info, encoder, sampling, span, runtime)
    rate = _measure(path, encoder, sampling, span, runtime, stream)
    pixels = encoder.preprocess.size * encoder.preprocess.frame_width
    return Plan(
        info=info,
        num_frames=_num_frames(info, span),
        num_tokens=tokens,
        num_stored_tokens=stored,
        disk_bytes=None if tokens is None else tokens * (4 * encoder.num_features + 32),
        pipeline_bytes=(_QUEUED_BATCHES + 4) * runtime.batch_size * 3 * pixels,
        temporal_bytes=None
        if tokens is None
        else temporal_bound_bytes(tokens, hidden_size, num_classes),
        weights_bytes=weights_bytes,
        frames_per_second=rate,
        seconds=None if tokens is None else max(0, tokens - stored) / rate,
    )


def _num_frames(info: VideoInfo, span: TimeRange) -> int | None:
    if span == TimeRange() and info.num_frames_from_header:
        return info.num_frames_from_header
    if info.duration_from_header is None or not info.average_rate:
        return None
    stop = min(span.end or info.duration_from_header, info.duration_from_header)
    return max(0, round((stop - span.start) * info.average_rate))


def _stored_tokens(
    path: str | Path,
    info: VideoInfo,
    encoder: FrameEncoder,
    sampling: SamplingConfig,
    span: TimeRange,
    runtime: RuntimeConfig,
) -> int:
    if not runtime.use_cache:
        return 0
    cache = FeatureCache(runtime.cache_dir or default_cache_dir())
    key = feature_key(path, info, encoder, sampling, span)
    if not cache.holds(key):
        return 0
    with cache.open(key, FileState.of(path)) as store:
        if store.layout is None:
            return 0
        return len(store.sequence(*index_range(sampling, span)).times)


def _measure(
    path: str | Path,
    encoder: FrameEncoder,
    sampling: SamplingConfig,
    span: TimeRange,
    runtime: RuntimeConfig,
    stream: int | None,
) -> float:
    """Tokens a second of the slower of decoder and backbone, which overlap."""
    first, _ = index_range(sampling, span)
    batch_size = max(1, runtime.batch_size // encoder.shape.burst.frames)
    first -= first % batch_size
    began = time.perf_counter()
    with open_samples(
        path,
        sampling,
        encoder.shape,
        fit=frame_fit(encoder.preprocess),
        interpolation=encoder.preprocess.interpolation,
        chunk_size=batch_size,
        first_index=first,
        stop_index=first + _SAMPLED_BATCHES * batch_size,
        span=span,
        stream=stream,
    ) as source:
        chunks = [chunk for chunk in source.chunks() if len(chunk.times)]
    decode_seconds = time.perf_counter() - began
    frames = [chunk.frames for chunk in chunks if len(chunk.frames)]
    if not frames:
        raise VideoDecodeError(f"{path}: no frame could be decoded to plan with")
    batch = np.concatenate(frames)[:batch_size]
    encoder.encode(batch)  # the first call allocates and is not counted
    began = time.perf_counter()
    encoder.encode(batch)
    backbone_seconds = (time.perf_counter() - began) / len(batch)
    tokens = sum(len(chunk.times) for chunk in chunks)
    samples = sum(len(part) for part in frames)
    return tokens / max(decode_seconds, backbone_seconds * samples)
