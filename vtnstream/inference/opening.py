"""Open the features of one request: from the store, a feature file, or an end-to-end pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.clips import InputShape
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.engines.state import EngineState
from vtnstream.encoding.extract import extract_features
from vtnstream.encoding.run_facts import RunFacts
from vtnstream.encoding.stored import OpenedFeatures
from vtnstream.errors import UsageError
from vtnstream.features.shuffling import shuffled
from vtnstream.inference.end_to_end import run_end_to_end
from vtnstream.inference.feature_files import features_of_file, with_frames
from vtnstream.inference.multi_view import run_multi_view
from vtnstream.inference.reference import run_reference
from vtnstream.inference.request import Request, time_range
from vtnstream.models.architectures import VideoModel
from vtnstream.progress import Progress
from vtnstream.types import TimeRange
from vtnstream.video.local_copy import local_copy


@contextmanager
def open_features(
    path: str | Path,
    model: VideoModel,
    encoder: FrameEncoder,
    request: Request,
    runtime: RuntimeConfig,
    progress: Progress,
    engines: EngineState | None = None,
) -> Iterator[OpenedFeatures]:
    """Open the features that satisfy ``request``; they are valid while the context is open.

    Raises:
        VtnstreamError: the video, the features or the range cannot be used.
    """
    if request.shuffle is not None:
        if encoder.shape.clip:
            raise UsageError(
                f"model {model.config.name} reads clips and has no features per token to shuffle"
            )
        plain = dataclasses.replace(request, shuffle=None)
        with open_features(path, model, encoder, plain, runtime, progress, engines) as opened:
            features = shuffled(opened.features, request.shuffle)
            yield dataclasses.replace(opened, features=features)
        return
    with (
        local_copy(path, progress, runtime.spool_limit_bytes) as place,
        _opened(place, model, encoder, request, runtime, progress, engines) as opened,
    ):
        yield opened.named(path, place)


@contextmanager
def _opened(
    path: str | Path,
    model: VideoModel,
    encoder: FrameEncoder,
    request: Request,
    runtime: RuntimeConfig,
    progress: Progress,
    engines: EngineState | None,
) -> Iterator[OpenedFeatures]:
    span = time_range(path, request.start, request.end, request.stream)
    sampling = request.sampling or model.config.sampling
    if request.features is not None:
        yield features_of_file(path, request.features, encoder, sampling, span, request.stream)
    elif request.views is not None:
        views = _views(path, model, encoder, request, sampling, span, progress)
        yield with_frames(path, views)
    elif request.reference:
        _require_float32("--reference-preprocess", runtime)
        yield with_frames(path, _reference(path, model, request, sampling))
    elif request.method == "end-to-end":
        _require_float32("--method end-to-end", runtime)
        result = _end_to_end(path, model, encoder.shape, request, sampling, span)
        yield with_frames(path, result)
    else:
        with extract_features(
            path,
            encoder,
            sampling,
            span=span,
            runtime=runtime,
            stream=request.stream,
            progress=progress,
            engines=engines,
        ) as extracted:
            yield extracted


def _require_float32(what: str, runtime: RuntimeConfig) -> None:
    if runtime.dtype not in ("auto", "float32"):
        raise UsageError(f"{what} runs in float32 only, not {runtime.dtype}")


def _end_to_end(
    path: str | Path,
    model: VideoModel,
    shape: InputShape,
    request: Request,
    sampling: SamplingConfig,
    span: TimeRange,
) -> OpenedFeatures:
    result = run_end_to_end(
        path, model, sampling, shape=shape, whole=request.whole, span=span, stream=request.stream
    )
    facts = RunFacts(
        tokens=len(result.features.times),
        features=result.features.num_features,
        from_store=False,
        frames_decoded=result.summary.stats.num_frames,
    )
    return OpenedFeatures(
        features=result.features,
        info=result.info,
        partial=result.partial,
        warnings=result.info.warnings + result.summary.warnings,
        facts=facts,
        output=result.output,
    )


def _reference(
    path: str | Path, model: VideoModel, request: Request, sampling: SamplingConfig
) -> OpenedFeatures:
    result = run_reference(path, model, sampling, stream=request.stream)
    facts = RunFacts(
        tokens=len(result.features.times),
        features=result.features.num_features,
        from_store=False,
        frames_decoded=result.num_frames_decoded,
        preprocess="PySlowFast",
    )
    return OpenedFeatures(
        features=result.features,
        info=result.info,
        partial=None,
        warnings=result.info.warnings + result.warnings,
        facts=facts,
        output=result.output,
    )


def _views(
    path: str | Path,
    model: VideoModel,
    encoder: FrameEncoder,
    request: Request,
    sampling: SamplingConfig,
    span: TimeRange,
    progress: Progress,
) -> OpenedFeatures:
    views, stream = request.views, request.stream
    assert views is not None
    result = run_multi_view(
        path,
        model,
        encoder,
        views,
        sampling,
        span=span,
        stream=stream,
        progress=progress,
    )
    facts = RunFacts(
        tokens=len(result.features.times),
        features=result.features.num_features,
        from_store=False,
        frames_decoded=result.num_frames_decoded,
        views=views.describe(),
        num_views=result.num_views,
    )
    return OpenedFeatures(
        features=result.features,
        info=result.info,
        partial=result.partial,
        warnings=result.info.warnings,
        facts=facts,
        output=result.output,
    )
