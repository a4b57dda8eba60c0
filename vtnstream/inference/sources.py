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
from vtnstream.config.loading import to_dict
from vtnstream.config.runtime import METHODS
from vtnstream.errors import FeatureError, UsageError
from vtnstream.features.file import FeatureFile, FeatureSpan
from vtnstream.features.key import video_identity
from vtnstream.inference.encoder import FrameEncoder
from vtnstream.inference.end_to_end import run_end_to_end
from vtnstream.inference.extract import ExtractedFeatures, extract_features
from vtnstream.models.streaming import SequenceOutput
from vtnstream.models.vtn import VTN
from vtnstream.progress import Progress
from vtnstream.timecode import FrameCount, parse_time
from vtnstream.types import FeatureSequence, Partial, TimeRange, VideoInfo
from vtnstream.video.probe import probe

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

    Raises:
        UsageError: the parts exclude each other.
    """

    sampling: SamplingConfig | None = None
    start: TimeLike | None = None
    end: TimeLike | None = None
    features: str | Path | None = None
    method: str = "chunked"
    stream: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if self.features is not None and self.method != "chunked":
            raise UsageError("stored features and --method end-to-end exclude each other")


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
    model: VTN,
    encoder: FrameEncoder,
    question: Question,
    runtime: RuntimeConfig,
    progress: Progress,
) -> Iterator[Source]:
    """Features that answer ``question``, valid while the context is open.

    Raises:
        VtnstreamError: the video, the features or the range cannot be used.
    """
    span = time_range(path, question.start, question.end, question.stream)
    sampling = question.sampling or model.config.sampling
    if question.features is not None:
        yield _from_file(path, model, encoder, question, span)
    elif question.method == "end-to-end":
        yield _end_to_end(path, model, sampling, span, question.stream)
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
    path: str | Path, model: VTN, sampling: SamplingConfig, span: TimeRange, stream: int | None
) -> Source:
    result = run_end_to_end(path, model, sampling, span=span, stream=stream)
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


def _from_file(
    path: str | Path, model: VTN, encoder: FrameEncoder, question: Question, span: TimeRange
) -> Source:
    """Features of an earlier ``extract``, checked to be this video's and this model's."""
    file = FeatureFile(question.features or "")
    info = probe(path, stream=question.stream)
    _check_provenance(file, path, info, model, encoder)
    features: FeatureSequence = file
    if span != TimeRange():
        end = None if span.end is None else float(span.end)
        features = FeatureSpan(file, float(span.start), end)
    if not len(features.times):
        raise FeatureError(f"{file.path}: no token in the requested range")
    facts = {"tokens": len(features.times), "features": file.num_features, "from_store": True}
    return Source(features, info, partial_from(file.metadata), (), facts)


def file_metadata(extracted: ExtractedFeatures) -> dict[str, Any]:
    """What a feature file says of its features; read back by :func:`open_source`."""
    partial = extracted.partial
    return {
        **extracted.provenance,
        "partial": None if partial is None else dataclasses.asdict(partial),
    }


def partial_from(metadata: dict[str, Any]) -> Partial | None:
    """The ``partial`` of a feature file's metadata."""
    data = metadata.get("partial")
    if data is None:
        return None
    gaps = tuple((float(start), float(end)) for start, end in data["gaps"])
    return Partial(**{**data, "reasons": tuple(data["reasons"]), "gaps": gaps})


def _check_provenance(
    file: FeatureFile, path: str | Path, info: VideoInfo, model: VTN, encoder: FrameEncoder
) -> None:
    stored, config = file.metadata, model.config
    fits = {
        "another video": stored["video"] == dataclasses.asdict(video_identity(path)),
        "another video stream": stored["stream_index"] == info.stream_index,
        "another backbone or other weights": stored["weights_sha256"] == encoder.weights_sha256,
        "other preprocessing": stored["preprocess"] == to_dict(config.preprocess),
        "other backbone arguments": stored["backbone_arguments"] == dict(config.backbone.arguments),
    }
    wrong = [what for what, fine in fits.items() if not fine]
    if wrong:
        raise FeatureError(
            f"{file.path}: made from {' and '.join(wrong)} than asked for; extract again with "
            "vtnstream extract --model"
        )
