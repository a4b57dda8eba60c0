"""One video in, a :class:`vtnstream.types.Report` out: what the commands call, and Python users.

import vtnstream
report = vtnstream.timeline("movie.mkv", window=64, model="my-model")
for segment in report.segments:
    print(segment.start, segment.end, segment.label, segment.score)
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from vtnstream.config import RuntimeConfig, SamplingConfig, TimelineConfig
from vtnstream.config.loading import to_dict
from vtnstream.errors import FeatureError, UsageError
from vtnstream.features.file import FeatureFile, FeatureSpan, write_features
from vtnstream.features.key import video_identity
from vtnstream.inference.analyze import Analysis, analyze
from vtnstream.inference.encoder import FrameEncoder, resolve_device
from vtnstream.inference.end_to_end import run_end_to_end
from vtnstream.inference.extract import extract_features
from vtnstream.models.checkpoint import load_model, weights_sha256
from vtnstream.models.streaming import SequenceOutput
from vtnstream.models.vtn import VTN
from vtnstream.progress import NullProgress, Progress
from vtnstream.timecode import FrameCount, parse_time
from vtnstream.types import FeatureSequence, Partial, Report, TimeRange, VideoInfo
from vtnstream.video.probe import probe

NO_MODEL = (
    "no model chosen: make one with `vtnstream demo` or `vtnstream train`, "
    "and name it with --model or VTNSTREAM_MODEL"
)
METHODS = ("chunked", "end-to-end")
TimeLike = str | int | float | Fraction


@dataclass(frozen=True, slots=True)
class InferenceOptions:
    """What ``classify`` and ``timeline`` share.

    Attributes:
        sampling: overrides the model's own sampling.
        start: source time in seconds or any form of ``vtnstream.timecode``; None: beginning.
        end: the same; None: the end of the file.
        runtime: device, dtype, cache.
        features: a file of ``vtnstream extract`` to use instead of decoding.
        method: ``chunked`` (memory does not grow with the video) or ``end-to-end``.
        stream: index of the video stream where a file has several.
    """

    sampling: SamplingConfig | None = None
    start: TimeLike | None = None
    end: TimeLike | None = None
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    features: str | Path | None = None
    method: str = "chunked"
    stream: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if self.features is not None and self.method != "chunked":
            raise UsageError("stored features and --method end-to-end exclude each other")


def classify(
    path: str | Path,
    *,
    model: str | Path | VTN | None = None,
    sampling: SamplingConfig | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    features: str | Path | None = None,
    method: str = "chunked",
    stream: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Say what a video is: one full-sequence pass of the model over all of it.

    Args:
        path: the video.
        model: needed; a model folder, a hub name, or a loaded :class:`vtnstream.models.vtn.VTN`.
        sampling, start, end, runtime, features, method, stream: :class:`InferenceOptions`.
        progress: told how far the work is.

    Returns:
        A report with ``classes``, best first, and ``partial`` where not all could be read.

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    options = InferenceOptions(
        sampling, start, end, runtime or RuntimeConfig(), features, method, stream
    )
    return run(path, _model(model), None, options, progress or NullProgress())


def timeline(
    path: str | Path,
    *,
    window: int | None = None,
    model: str | Path | VTN | None = None,
    options: TimelineConfig | None = None,
    sampling: SamplingConfig | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    features: str | Path | None = None,
    method: str = "chunked",
    stream: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Say what happens when: the class of a video and its labelled segments.

    Args:
        path: the video.
        window: tokens of the sliding window; asking for one adds sliding localisation.
        model: as for :func:`classify`.
        options: all other options of localisation.
        sampling, start, end, runtime, features, method, stream: :class:`InferenceOptions`.
        progress: told how far the work is.

    Returns:
        A report with ``classes`` and ``segments`` (half-open, in seconds of the source).

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    localize = options or TimelineConfig()
    if window is not None:
        localize = replace(localize, window=window)
    inference = InferenceOptions(
        sampling, start, end, runtime or RuntimeConfig(), features, method, stream
    )
    return run(path, _model(model), localize, inference, progress or NullProgress())


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
    runtime = runtime or RuntimeConfig()
    span = time_range(path, start, end, stream)
    with extract_features(
        path,
        encoder,
        sampling,
        span=span,
        runtime=runtime,
        stream=stream,
        progress=progress,
    ) as extracted:
        write_features(output, extracted.features, extracted.provenance)
        source = _Source(
            extracted.features,
            extracted.info,
            extracted.partial,
            extracted.warnings,
            {**extracted.facts, "output": str(output)},
        )
        model = {
            "name": encoder.config.name,
            "source": None,
            "weights_sha256": encoder.weights_sha256,
        }
        return _report(path, source, model, sampling, None, None)


def run(
    path: str | Path,
    model: VTN,
    localize: TimelineConfig | None,
    options: InferenceOptions,
    progress: Progress,
) -> Report:
    """The one way through: a source of features, the temporal half, a report."""
    began = time.perf_counter()
    model.eval().to(resolve_device(options.runtime.device))
    sampling = options.sampling or model.config.sampling
    with _features(path, model, sampling, options, progress) as source:
        middle = time.perf_counter()
        analysis = analyze(model, source.features, localize, output=source.output)
        source.facts["temporal_seconds"] = round(time.perf_counter() - middle, 3)
        source.facts["seconds"] = round(time.perf_counter() - began, 3)
        about = {
            "name": model.config.name,
            "source": getattr(model, "source", None),
            "weights_sha256": getattr(model, "weights_sha256", None),
            "architecture": model.config.architecture,
            "backbone": model.config.backbone.name,
        }
        return _report(path, source, about, sampling, localize, analysis)


def time_range(
    path: str | Path, start: TimeLike | None, end: TimeLike | None, stream: int | None = None
) -> TimeRange:
    """A range of source time from user's words; ``2700f`` needs the video's rate.

    Raises:
        UsageError: not a time, or the range is empty.
    """
    first = _seconds(path, start, stream) if start is not None else Fraction(0)
    last = _seconds(path, end, stream) if end is not None else None
    if last is not None and last <= first:
        raise UsageError(f"--end {end} does not lie after --start {start if start else 0}")
    return TimeRange(first, last)


def _seconds(path: str | Path, value: TimeLike, stream: int | None) -> Fraction:
    parsed = parse_time(value) if isinstance(value, str) else Fraction(value)
    if isinstance(parsed, FrameCount):
        rate = probe(path, stream=stream).average_rate
        if not rate:
            raise UsageError(f"{path}: its frame rate is unknown: give times in seconds")
        return Fraction(parsed.frames) / rate
    if parsed < 0:
        raise UsageError(f"times start at 0, not {value}")
    return parsed


@dataclass(frozen=True, slots=True)
class _Source:
    """Features of one video, wherever they came from."""

    features: FeatureSequence
    info: VideoInfo
    partial: Partial | None
    warnings: tuple[str, ...]
    facts: dict[str, Any]
    output: SequenceOutput | None = None


@contextmanager
def _features(
    path: str | Path,
    model: VTN,
    sampling: SamplingConfig,
    options: InferenceOptions,
    progress: Progress,
) -> Iterator[_Source]:
    if options.features is not None:
        yield _from_file(path, model, options)
        return
    span = time_range(path, options.start, options.end, options.stream)
    if options.method == "end-to-end":
        yield _end_to_end(path, model, sampling, span, options)
        return
    encoder = FrameEncoder.from_model(model, options.runtime)
    with extract_features(
        path,
        encoder,
        sampling,
        span=span,
        runtime=options.runtime,
        stream=options.stream,
        progress=progress,
    ) as extracted:
        yield _Source(
            extracted.features,
            extracted.info,
            extracted.partial,
            extracted.warnings,
            extracted.facts,
        )


def _end_to_end(
    path: str | Path,
    model: VTN,
    sampling: SamplingConfig,
    span: TimeRange,
    options: InferenceOptions,
) -> _Source:
    result = run_end_to_end(path, model, sampling, span=span, stream=options.stream)
    facts = {
        "tokens": len(result.features.times),
        "features": result.features.num_features,
        "frames_decoded": result.summary.stats.num_frames,
        "from_store": False,
    }
    return _Source(
        result.features,
        result.info,
        result.partial,
        result.info.warnings + result.summary.warnings,
        facts,
        result.output,
    )


def _from_file(path: str | Path, model: VTN, options: InferenceOptions) -> _Source:
    """Features of an earlier ``extract``, checked to be this video's and this model's."""
    file = FeatureFile(options.features or "")
    info = probe(path, stream=options.stream)
    _check_provenance(file, path, info, model)
    span = time_range(path, options.start, options.end, options.stream)
    features: FeatureSequence = file
    if span != TimeRange():
        features = FeatureSpan(
            file, float(span.start), None if span.end is None else float(span.end)
        )
    if not len(features.times):
        raise FeatureError(f"{file.path}: no token in the requested range")
    partial = file.metadata.get("partial")
    facts = {"tokens": len(features.times), "features": file.num_features, "from_store": True}
    return _Source(features, info, Partial(**partial) if partial else None, (), facts)


def _check_provenance(file: FeatureFile, path: str | Path, info: VideoInfo, model: VTN) -> None:
    identity = video_identity(path)
    stored = file.metadata
    checks = {
        "another video": stored["video"]["blocks_sha256"] == identity.blocks_sha256,
        "another video stream": stored["stream_index"] == info.stream_index,
        "another backbone or other weights": stored["weights_sha256"]
        == weights_sha256(model.backbone),
        "other preprocessing": stored["preprocess"] == to_dict(model.config.preprocess),
        "other backbone arguments": stored["backbone_arguments"]
        == dict(model.config.backbone.arguments),
    }
    wrong = [what for what, fine in checks.items() if not fine]
    if wrong:
        raise FeatureError(
            f"{file.path}: made from {' and '.join(wrong)} than asked for; extract again with "
            "vtnstream extract --model"
        )


def _model(model: str | Path | VTN | None) -> VTN:
    if model is None:
        raise UsageError(NO_MODEL)
    return model if isinstance(model, VTN) else load_model(model)


def _report(
    path: str | Path,
    source: _Source,
    about: Mapping[str, Any],
    sampling: SamplingConfig,
    localize: TimelineConfig | None,
    analysis: Analysis | None,
) -> Report:
    times = source.features.times
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
        sampling={**sampling.key(), "description": sampling.describe()},
        settings=settings,
        run={**source.facts, **_versions()},
        warnings=source.warnings,
    )


def _versions() -> dict[str, str]:
    return {
        "vtnstream": importlib.metadata.version("vtnstream"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
