"""Where the features of one question come from: the store (decoding what it lacks), a feature
file, or one end-to-end pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.config.runtime import METHODS
from vtnstream.config.views import ViewsConfig
from vtnstream.encoding.clips import SampleShape
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.extract import (
    ExtractedFeatures,
    extract_features,
)
from vtnstream.encoding.store_session import sampling_grid
from vtnstream.errors import FeatureError, UsageError
from vtnstream.features.file import FeatureFile, FeatureSpan
from vtnstream.features.key import video_identity
from vtnstream.features.shuffling import shuffled
from vtnstream.inference.end_to_end import run_end_to_end
from vtnstream.inference.feature_files import check_provenance, partial_of_file, rounding
from vtnstream.inference.multi_view import run_multi_view
from vtnstream.models.architectures import VideoModel
from vtnstream.models.long_sequence.streaming import SequenceOutput
from vtnstream.progress import Progress
from vtnstream.timecode import FrameCount, parse_time
from vtnstream.transport.address import shown
from vtnstream.transport.spool import at_hand
from vtnstream.types import FeatureSequence, Partial, TimeRange, VideoInfo
from vtnstream.video.probe import probe
from vtnstream.video.sampling.grid import index_range

TimeLike = str | int | float | Fraction


@dataclass(frozen=True, slots=True)
class Question:
    """Which part of a video is asked about, and through which way.

    Attributes:
        sampling: overrides the model's own sampling.
        start: source time in seconds or any form of ``vtnstream.timecode``; None: beginning.
        end: the same; None: the end of the file.
        features: a file of ``vtnstream extract`` to use instead of decoding.
        method: ``chunked`` (memory does not grow with the video) or ``end-to-end``.
        stream: index of the video stream where a file has several.
        views: classify by clips and crops instead of one pass over the whole sequence.
        whole: a ViViT that can reads the video as one sequence instead of in sliding clips.
        shuffle: seed of a random order of the frames, each at another's time; None leaves
            them in order.

    Raises:
        UsageError: the parts exclude each other.
    """

    sampling: SamplingConfig | None = None
    start: TimeLike | None = None
    end: TimeLike | None = None
    features: str | Path | None = None
    method: str = "chunked"
    stream: int | None = None
    views: ViewsConfig | None = None
    whole: bool = False
    shuffle: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if self.views is not None and (self.features is not None or self.method != "chunked"):
            raise UsageError("--views excludes --features and --method end-to-end")
        if self.views is not None and self.whole:
            raise UsageError("--views and --whole exclude each other")
        if self.features is not None and self.method != "chunked":
            raise UsageError("stored features and --method end-to-end exclude each other")
        if self.shuffle is not None and (self.views is not None or self.method != "chunked"):
            raise UsageError("frames are shuffled for one pass over the whole video, chunked")


@dataclass(frozen=True, slots=True)
class Source:
    """Features of one video, wherever they came from, with what the report says of them.
    ``output`` is the full-sequence pass where it was made on the way (end-to-end)."""

    features: FeatureSequence
    info: VideoInfo
    partial: Partial | None
    warnings: tuple[str, ...]
    facts: dict[str, Any]
    output: SequenceOutput | None = None

    @classmethod
    def of(cls, extracted: ExtractedFeatures) -> Source:
        return cls(
            extracted.features,
            extracted.info,
            extracted.partial,
            extracted.warnings,
            extracted.facts,
        )


@contextmanager
def open_source(
    path: str | Path,
    model: VideoModel,
    encoder: FrameEncoder,
    question: Question,
    runtime: RuntimeConfig,
    progress: Progress,
) -> Iterator[Source]:
    """Features that answer ``question``, valid while the context is open.

    Raises:
        VtnstreamError: the video, the features or the range cannot be used.
    """
    if question.shuffle is not None:
        if encoder.shape.clip:
            raise UsageError(
                f"model {model.config.name} sees clips and has no features of single moments to "
                "shuffle"
            )
        plain = dataclasses.replace(question, shuffle=None)
        with open_source(path, model, encoder, plain, runtime, progress) as source:
            features = shuffled(source.features, question.shuffle)
            yield dataclasses.replace(source, features=features)
        return
    with (
        at_hand(path, progress, runtime.spool_limit_bytes) as place,
        _opened(place, model, encoder, question, runtime, progress) as source,
    ):
        yield told_of(path, place, source)


def told_of(path: str | Path, place: str | Path, source: Source) -> Source:
    """``source`` under the name its video was given, though it was read at ``place``; with the
    hash of what was read."""
    facts = {**source.facts, "video_blocks_sha256": video_identity(place).blocks_sha256}
    info = dataclasses.replace(source.info, path=shown(str(path)))
    return dataclasses.replace(source, info=info, facts=facts)


@contextmanager
def _opened(
    path: str | Path,
    model: VideoModel,
    encoder: FrameEncoder,
    question: Question,
    runtime: RuntimeConfig,
    progress: Progress,
) -> Iterator[Source]:
    span = time_range(path, question.start, question.end, question.stream)
    sampling = question.sampling or model.config.sampling
    if question.features is not None:
        yield _from_file(path, model, encoder, question, sampling, span)
    elif question.views is not None:
        yield _views(path, model, encoder, question, sampling, span, progress)
    elif question.method == "end-to-end":
        if runtime.dtype not in ("auto", "float32"):
            raise UsageError(f"--method end-to-end runs in float32 only, not {runtime.dtype}")
        yield _end_to_end(path, model, encoder.shape, question, sampling, span)
    else:
        with extract_features(
            path,
            encoder,
            sampling,
            span=span,
            runtime=runtime,
            stream=question.stream,
            progress=progress,
        ) as extracted:
            yield Source.of(extracted)


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


def _end_to_end(
    path: str | Path,
    model: VideoModel,
    shape: SampleShape,
    question: Question,
    sampling: SamplingConfig,
    span: TimeRange,
) -> Source:
    result = run_end_to_end(
        path, model, sampling, shape=shape, whole=question.whole, span=span, stream=question.stream
    )
    facts = {
        "tokens": len(result.features.times),
        "features": result.features.num_features,
        "frames_decoded": result.summary.stats.num_frames,
        "from_store": False,
    }
    return Source(
        result.features,
        result.info,
        result.partial,
        result.info.warnings + result.summary.warnings,
        facts,
        result.output,
    )


def _views(
    path: str | Path,
    model: VideoModel,
    encoder: FrameEncoder,
    question: Question,
    sampling: SamplingConfig,
    span: TimeRange,
    progress: Progress,
) -> Source:
    views, stream = question.views, question.stream
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
    facts = {
        "views": views.describe(),
        "num_views": result.num_views,
        "tokens": len(result.features.times),
        "features": result.features.num_features,
        "frames_decoded": result.num_frames_decoded,
        "from_store": False,
    }
    return Source(
        result.features, result.info, result.partial, result.info.warnings, facts, result.output
    )


def _from_file(
    path: str | Path,
    model: VideoModel,
    encoder: FrameEncoder,
    question: Question,
    sampling: SamplingConfig,
    span: TimeRange,
) -> Source:
    """Features of an earlier ``extract``, checked to be this video's, this model's and this
    grid's."""
    file = FeatureFile(question.features or "")
    info = probe(path, stream=question.stream)
    check_provenance(file, path, info, model, encoder, sampling_grid(sampling, span, encoder.shape))
    features = FeatureSpan(file, *index_range(sampling, span))
    if not len(features.times):
        raise FeatureError(f"{file.path}: no token in the requested range")
    facts = {"tokens": len(features.times), "features": file.num_features, "from_store": True}
    partial = partial_of_file(file, features, info, span)
    return Source(features, info, partial, tuple(rounding(file, encoder)), facts)
