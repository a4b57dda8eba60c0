"""Estimate a run before it starts: frames, tokens, memory, disk and time.

Counts are estimates from the header. Speed is measured on the first seconds of the video with
the real decoder and the real backbone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.config.runtime import default_cache_dir
from vtnstream.encoding.engines.protocols import Encoder
from vtnstream.encoding.engines.state import Choice
from vtnstream.encoding.model_inputs import open_inputs
from vtnstream.encoding.run_facts import RuntimeFacts
from vtnstream.encoding.store_filling import frames_held
from vtnstream.encoding.store_session import Opening
from vtnstream.errors import VideoDecodeError
from vtnstream.features.cache import FeatureCache
from vtnstream.features.key import FileState
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.progress import NullProgress
from vtnstream.types import TimeRange, VideoInfo
from vtnstream.video.probe import examine
from vtnstream.video.sampling.grid import index_range

_SAMPLED_TOKENS = 64

_WORKED_TOKENS = 2**16
"""Number of tokens whose states bound the memory of a block of tokens and its windows in one
layer. A block has 1,024 to 2,048 tokens."""


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
        seconds: time for the tokens not stored yet, compiling included; None where tokens
            are unknown.
        runtime: device, precision, backend and why, batch size, workers.
        compiles: whether an engine is compiled first.
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
    runtime: RuntimeFacts
    compiles: bool


def temporal_bound_bytes(num_tokens: int, hidden_size: int, num_classes: int) -> int:
    """Return the documented bound on anonymous memory that ``timeline`` adds: the encoder's
    states, three score tables and working memory, all float32."""
    return 4 * ((num_tokens + _WORKED_TOKENS) * hidden_size + 3 * num_tokens * num_classes)


def plan(
    path: str | Path,
    encoder: Encoder,
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
        span, runtime, stream: as for :func:`vtnstream.encoding.extract.extract_features`.

    Raises:
        VideoError: the video cannot be opened or decoded.
    """
    span = span or TimeRange()
    runtime = runtime or RuntimeConfig()
    encoder.shape.check(sampling)
    examined = examine(path, stream=stream)
    info = examined.info
    cache = FeatureCache(runtime.cache_dir or default_cache_dir())
    engines = encoder.engines(runtime, NullProgress())
    state = FileState.of(path)
    opening = Opening(path, state, examined, sampling, span, stream, cache, engines)
    tokens, choice = opening.num_expected, opening.choose()
    batch_size = engines.batch_size(tokens, opening.first_frames)
    stored = _stored_tokens(opening, choice) if runtime.use_cache else 0
    rate, compiling = _measure(opening, choice, batch_size)
    missing = None if tokens is None else max(0, tokens - stored)
    frame_bytes = 3 * encoder.preprocess.size * encoder.preprocess.frame_width
    held = frames_held(batch_size, engines.worker_plan, frame_bytes)
    held += 4 * batch_size * engines.worker_plan.workers
    return Plan(
        info=info,
        num_frames=_num_frames(info, span),
        num_tokens=tokens,
        num_stored_tokens=stored,
        disk_bytes=None if tokens is None else tokens * (4 * encoder.num_features + 32),
        pipeline_bytes=held * frame_bytes,
        temporal_bytes=None
        if tokens is None
        else temporal_bound_bytes(tokens, hidden_size, num_classes),
        weights_bytes=weights_bytes,
        frames_per_second=rate,
        seconds=None if missing is None else missing / rate + (compiling if missing else 0.0),
        runtime=engines.facts(choice, batch_size, None),
        compiles=compiling > 0,
    )


def _num_frames(info: VideoInfo, span: TimeRange) -> int | None:
    if span == TimeRange() and info.num_frames_from_header:
        return info.num_frames_from_header
    if info.duration_from_header is None or not info.average_rate:
        return None
    stop = min(span.end or info.duration_from_header, info.duration_from_header)
    return max(0, round((stop - span.start) * info.average_rate))


def _stored_tokens(opening: Opening, choice: Choice) -> int:
    key = opening.key(choice.backend)
    if not opening.cache.num_chunks(key):
        return 0
    with opening.cache.open(key, opening.state) as store:
        if store.layout is None:
            return 0
        return len(store.sequence(*index_range(opening.sampling, opening.span)).times)


def _measure(opening: Opening, choice: Choice, batch_size: int) -> tuple[float, float]:
    """Return tokens per second of decoder and backbone together, and seconds of compiling."""
    engines = opening.engines
    samples, per_token, decode_seconds = _decode(opening)
    size = engines.inputs_per_call(batch_size)
    speed = engines.speed(choice.backend, size, samples)
    seconds = per_token / speed.frames_per_second
    rate = engines.worker_plan.rate(decode_seconds, seconds, engines.encoder.device_type)
    return rate, speed.compile_seconds


def _decode(opening: Opening) -> tuple[NDArray[np.uint8], float, float]:
    """Return some samples, the number of samples per token, and the decoder's seconds per token."""
    encoder = opening.engines.encoder
    first, _ = index_range(opening.sampling, opening.span)
    first -= first % _SAMPLED_TOKENS
    began = time.perf_counter()
    with open_inputs(
        opening.path,
        opening.sampling,
        encoder.shape,
        fit=frame_fit(encoder.preprocess),
        interpolation=encoder.preprocess.interpolation,
        chunk_size=_SAMPLED_TOKENS,
        first_index=first,
        stop_index=first + _SAMPLED_TOKENS,
        span=opening.span,
        stream=opening.stream,
        examined=opening.examined,
    ) as source:
        chunks = [chunk for chunk in source.chunks() if len(chunk.frames)]
    seconds = time.perf_counter() - began
    if not chunks:
        raise VideoDecodeError(f"{opening.path}: no frame could be decoded to plan with")
    tokens = sum(len(chunk.times) for chunk in chunks)
    samples = sum(len(chunk.frames) for chunk in chunks)
    return chunks[0].frames, samples / tokens, seconds / tokens
