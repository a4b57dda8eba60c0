"""One video in, a :class:`vtnstream.types.Report` out: what the commands call, and Python users.

import vtnstream
report = vtnstream.timeline("movie.mkv", window=64, model="my-model")
for segment in report.segments:
    print(segment.start, segment.end, segment.label, segment.score)
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vtnstream.config import RuntimeConfig, SamplingConfig, TimelineConfig
from vtnstream.config.loading import to_dict
from vtnstream.config.runtime import default_cache_dir
from vtnstream.config.summary import SummaryConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.editing.summary import choose, joined, pieces_of
from vtnstream.errors import UsageError
from vtnstream.features.file import write_features
from vtnstream.features.key import video_identity
from vtnstream.inference.analyze import Analysis, analyze, attention_map, resolve_localization
from vtnstream.inference.clip_scores import clip_layout
from vtnstream.inference.encoder import FrameEncoder, resolve_device
from vtnstream.inference.extract import extract_features
from vtnstream.inference.frame_rate import constant_frame_rate
from vtnstream.inference.sources import (
    Question,
    Source,
    TimeLike,
    file_metadata,
    open_source,
    time_range,
)
from vtnstream.models.architectures import VideoModel, require_vtn
from vtnstream.models.checkpoint import load_model, weights_sha256
from vtnstream.models.precision import TORCH_DTYPES
from vtnstream.models.vivit import ViViT
from vtnstream.models.vtn import VTN
from vtnstream.progress import NullProgress, Progress
from vtnstream.types import AttentionMap, Report

NO_MODEL = (
    "no model chosen: make one with `vtnstream demo` or `vtnstream train`, "
    "and name it with --model or VTNSTREAM_MODEL"
)


class Analyzer:
    """A model made ready once and asked about many videos.

    Args:
        model: a model folder, a hub name, or a loaded model, which is put into evaluation
            mode on the runtime's device.
        runtime: device, dtype, cache.

    Raises:
        ModelError: the model cannot be used.
        UsageError: no model is named, or the device is not there.
    """

    def __init__(
        self, model: str | Path | VideoModel | None, *, runtime: RuntimeConfig | None = None
    ) -> None:
        if model is None:
            raise UsageError(NO_MODEL)
        self.runtime = runtime or RuntimeConfig()
        source = os.fspath(model) if isinstance(model, (str, Path)) else None
        loaded = load_model(model) if isinstance(model, (str, Path)) else model
        self.model = loaded
        self.model.eval().to(resolve_device(self.runtime.device))
        self.encoder = FrameEncoder.from_model(self.model, self.runtime)
        self._temporal = loaded
        if isinstance(loaded, VTN):
            self._temporal = loaded.in_precision(TORCH_DTYPES[self.encoder.dtype])
        cache = self.runtime.cache_dir or default_cache_dir()
        self._scratch = cache / "states" if self.runtime.use_cache else None
        self._about = {
            "name": self.model.config.name,
            "source": source,
            "weights_sha256": weights_sha256(self.model),
            "config_sha256": _config_sha256(self.model),
            "architecture": self.model.config.architecture,
            "backbone": self.model.config.backbone.name,
        }

    def classify(
        self, path: str | Path, question: Question, *, progress: Progress | None = None
    ) -> Report:
        """As :func:`classify`."""
        return self._run(path, None, question, progress)

    def timeline(
        self,
        path: str | Path,
        question: Question,
        options: TimelineConfig,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """As :func:`timeline`."""
        return self._run(path, options, question, progress)

    def attention(
        self, path: str | Path, question: Question, *, progress: Progress | None = None
    ) -> tuple[Report, AttentionMap]:
        """As :func:`attention`."""
        if question.views is not None or question.method != "chunked":
            raise UsageError("attention is that of one pass over the whole sequence")
        model = require_vtn(self._temporal, "attention")
        resolve_localization(self.model, None)
        with open_source(
            path, self.model, self.encoder, question, self.runtime, progress or NullProgress()
        ) as source:
            found, output = attention_map(model, source.features, scratch=self._scratch)
            analysis = analyze(model, source.features, output=output)
            sampling = question.sampling or self.model.config.sampling
            report = _report(path, source, self._about, self.encoder, sampling, None, analysis)
            return report, found

    def summarize(
        self,
        path: str | Path,
        question: Question,
        options: TimelineConfig,
        config: SummaryConfig,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """As :func:`summarize`."""
        if question.views is not None or question.method != "chunked":
            raise UsageError("a summary is made from one pass over the whole sequence")
        model = require_vtn(self._temporal, "a summary")
        resolve_localization(model, options)
        with open_source(
            path, self.model, self.encoder, question, self.runtime, progress or NullProgress()
        ) as source:
            found, output = attention_map(model, source.features, scratch=self._scratch)
            analysis = analyze(model, source.features, options, output=output)
            times = source.features.times
            span = (float(times.start_seconds[0]), float(times.end_seconds[-1]))
            offered = pieces_of(source.features, found.row(), analysis.segments or (), span, config)
            kept = choose(offered, config)
            if not kept:
                raise UsageError(
                    f"{path}: no piece of at least {config.shortest:g} s fits a summary of "
                    f"{config.length:g} s: give a greater --length"
                )
            chosen = dataclasses.replace(analysis, segments=tuple(joined(kept)))
            sampling = question.sampling or self.model.config.sampling
            report = _report(path, source, self._about, self.encoder, sampling, options, chosen)
            settings = {**report.settings, "summary": to_dict(config)}
            return dataclasses.replace(report, settings=settings)

    def _run(
        self,
        path: str | Path,
        localize: TimelineConfig | None,
        question: Question,
        progress: Progress | None,
    ) -> Report:
        """The one way through: features, the temporal half, a report."""
        began = time.perf_counter()
        resolve_localization(self.model, localize)  # before hours are decoded in vain
        if localize is not None and question.views is not None:
            raise UsageError("views answer what a video is, not what happens when: use classify")
        encoder = self._encoder_for(localize, question)
        with open_source(
            path, self.model, encoder, question, self.runtime, progress or NullProgress()
        ) as source:
            middle = time.perf_counter()
            analysis = analyze(
                self._temporal,
                source.features,
                localize,
                output=source.output,
                whole=question.whole,
                scratch=self._scratch,
            )
            source.facts["temporal_seconds"] = round(time.perf_counter() - middle, 3)
            source.facts["seconds"] = round(time.perf_counter() - began, 3)
            sampling = question.sampling or self.model.config.sampling
            return _report(path, source, self._about, encoder, sampling, localize, analysis)

    def _encoder_for(self, localize: TimelineConfig | None, question: Question) -> FrameEncoder:
        """The encoder, with clips where the question wants them.

        Raises:
            UsageError: the model cannot be asked so.
        """
        if not isinstance(self.model, ViViT):
            return self.encoder
        layout = clip_layout(self.model, localize)
        if not self.model.vivit.reads_sequences and question.whole:
            raise UsageError(
                f"model {self.model.config.name} ({self.model.vivit.form}) sees clips, not whole "
                "videos: leave --whole out"
            )
        return self.encoder.with_hop(layout.hop) if self.encoder.shape.clip else self.encoder


def classify(
    path: str | Path,
    *,
    model: str | Path | VideoModel | None = None,
    sampling: SamplingConfig | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    features: str | Path | None = None,
    method: str = "chunked",
    stream: int | None = None,
    views: str | ViewsConfig | None = None,
    whole: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Say what a video is: one full-sequence pass of the model over all of it, or with
    ``views`` (``"10x3"``) the mean over clips and crops.

    Args:
        path: the video.
        model: needed; a model folder, a hub name, or a loaded
            :class:`vtnstream.models.vtn.VTN`. For many videos see :class:`Analyzer`.
        sampling, start, end, features, method, stream, views, whole: see
            :class:`vtnstream.inference.sources.Question`.
        runtime: device, dtype, cache.
        progress: told how far the work is.

    Returns:
        A report with ``classes``, best first, and ``partial`` where not all could be read.

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    if isinstance(views, str):
        views = ViewsConfig.parse(views)
    question = Question(sampling, start, end, features, method, stream, views, whole)
    return Analyzer(model, runtime=runtime).classify(path, question, progress=progress)


def timeline(
    path: str | Path,
    *,
    window: int | None = None,
    model: str | Path | VideoModel | None = None,
    options: TimelineConfig | None = None,
    sampling: SamplingConfig | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    features: str | Path | None = None,
    method: str = "chunked",
    stream: int | None = None,
    whole: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Say what happens when: the class of a video and its labelled segments.

    Args:
        path: the video.
        window: tokens of the sliding window; asking for one adds sliding localisation.
        model: as for :func:`classify`.
        options: all other options of localisation.
        sampling, start, end, features, method, stream, whole: see
            :class:`vtnstream.inference.sources.Question`.
        runtime: device, dtype, cache.
        progress: told how far the work is.

    Returns:
        A report with ``classes`` and ``segments`` (half-open, in seconds of the source).

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    localize = options or TimelineConfig()
    if window is not None:
        localize = replace(localize, window=window)
    question = Question(sampling, start, end, features, method, stream, whole=whole)
    return Analyzer(model, runtime=runtime).timeline(path, question, localize, progress=progress)


def attention(
    path: str | Path,
    *,
    model: str | Path | VideoModel | None = None,
    sampling: SamplingConfig | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    features: str | Path | None = None,
    stream: int | None = None,
    progress: Progress | None = None,
) -> tuple[Report, AttentionMap]:
    """Which moments of a video decided on its class: the weights of [CLS] (paper Fig. 3).

    Arguments as for :func:`classify`.

    Returns:
        the report of :func:`classify` and the weights of every layer and head.

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    question = Question(sampling, start, end, features, "chunked", stream)
    return Analyzer(model, runtime=runtime).attention(path, question, progress=progress)


def summarize(
    path: str | Path,
    *,
    length: float = SummaryConfig().length,
    model: str | Path | VideoModel | None = None,
    config: SummaryConfig | None = None,
    options: TimelineConfig | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    stream: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Choose the moments of a video worth keeping (:mod:`vtnstream.editing.summary`).

    Args:
        path: the video.
        length: seconds the summary may last.
        model: as for :func:`classify`.
        config: all other options of the choice.
        options: of the timeline whose segments are chosen from.
        start, end, stream: see :class:`vtnstream.inference.sources.Question`.
        runtime: device, dtype, cache.
        progress: told how far the work is.

    Returns:
        A report whose segments are the chosen moments, in order.

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    chosen = replace(config or SummaryConfig(), length=length)
    return Analyzer(model, runtime=runtime).summarize(
        path,
        Question(None, start, end, None, "chunked", stream),
        options or TimelineConfig(),
        chosen,
        progress=progress,
    )


def extract(
    path: str | Path,
    encoder: FrameEncoder,
    *,
    sampling: SamplingConfig,
    output: str | Path,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    stream: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Features of a video as one safetensors file (see :mod:`vtnstream.features.file`).

    Returns:
        A report without classes or segments: what was read, and whether it is partial.

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    if encoder.shape.clip:
        raise UsageError(
            "this model sees clips and has no features of single moments to extract: use one "
            "of form factorised-encoder"
        )
    with extract_features(
        path,
        encoder,
        sampling,
        span=time_range(path, start, end, stream),
        runtime=runtime,
        stream=stream,
        progress=progress,
    ) as extracted:
        write_features(output, extracted.features, file_metadata(extracted))
        extracted.facts["output"] = str(output)
        about = {
            "name": encoder.config.name,
            "source": None,
            "weights_sha256": encoder.weights_sha256,
        }
        return _report(path, Source.of(extracted), about, encoder, sampling, None, None)


def _report(
    path: str | Path,
    source: Source,
    about: Mapping[str, Any],
    encoder: FrameEncoder,
    sampling: SamplingConfig,
    localize: TimelineConfig | None,
    analysis: Analysis | None,
) -> Report:
    times = source.features.times
    read = analysis.facts if analysis else {}
    settings = {} if localize is None else to_dict(localize)
    if analysis is not None and localize is not None:
        settings["tracks"] = list(analysis.tracks)
    return Report(
        input=os.fspath(path),
        video=source.info,
        model=about,
        classes=analysis.classes if analysis else (),
        segments=analysis.segments if analysis else None,
        labels=analysis.labels if analysis else (),
        start_seconds=float(times.start_seconds[0]),
        end_seconds=float(times.end_seconds[-1]),
        partial=source.partial,
        sampling={
            **sampling.key(),
            **encoder.shape.key(),
            "description": sampling.describe(encoder.shape.burst.frames),
        },
        settings=settings,
        attention=analysis.attention if analysis else None,
        scores=analysis.scores if analysis else (),
        frame_rate=constant_frame_rate(times, source.info),
        run={**source.facts, **read, **_provenance(path, encoder), **_versions()},
        warnings=source.warnings + (analysis.warnings if analysis else ()),
    )


def _config_sha256(model: VideoModel) -> str:
    text = json.dumps(to_dict(model.config), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _provenance(path: str | Path, encoder: FrameEncoder) -> dict[str, str]:
    """Which bytes were read, and what the numbers were computed on."""
    return {
        "video_blocks_sha256": video_identity(path).blocks_sha256,
        "device": str(encoder.device),
        "dtype": encoder.dtype,
    }


def _versions() -> dict[str, str]:
    return {
        **{name: importlib.metadata.version(name) for name in ("vtnstream", "av", "timm")},
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
