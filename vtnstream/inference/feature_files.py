"""Use feature files of ``vtnstream extract``: check that they satisfy a request."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from vtnstream.config import SamplingConfig
from vtnstream.encoding.engines.protocols import Encoder
from vtnstream.encoding.partial import gaps, seconds_expected
from vtnstream.encoding.run_facts import RunFacts
from vtnstream.encoding.stored import ExtractedFeatures, OpenedFeatures, sampling_grid, span_text
from vtnstream.errors import FeatureError
from vtnstream.features.file import FeatureFile, FeatureSpan
from vtnstream.features.key import video_identity
from vtnstream.timecode import format_time
from vtnstream.types import FeatureSequence, Partial, TimeRange, VideoInfo
from vtnstream.video.probe import probe
from vtnstream.video.sampling.counting import frames_up_to
from vtnstream.video.sampling.grid import index_range


def _rounding(file: FeatureFile, encoder: Encoder) -> Iterator[str]:
    """Return a warning if the features of the file differ from the model's own by rounding."""
    made = file.metadata["dtype"]
    if made != encoder.dtype:
        yield f"features of {file.path} were computed in {made}, not in {encoder.dtype}"


def file_metadata(extracted: ExtractedFeatures) -> dict[str, Any]:
    """Return the metadata of a feature file; :func:`features_of_file`
    reads it back."""
    partial = extracted.partial
    return {
        **extracted.provenance,
        "span": span_text(extracted.span),
        "partial": None if partial is None else dataclasses.asdict(partial),
    }


def _partial_of_file(
    file: FeatureFile, features: FeatureSequence, info: VideoInfo, span: TimeRange
) -> Partial | None:
    """Return why the features of a file do not cover all of a range: errors during extraction
    (wherever in the file they occurred), or a range beyond theirs."""
    data = file.metadata.get("partial") or {"reasons": ()}
    times = features.times
    reasons = [*_beyond(file.metadata, info, span), *data["reasons"]]
    if not reasons:
        return None
    return Partial(
        reasons=tuple(reasons),
        seconds_read=float((times.end_seconds - times.start_seconds).sum()),
        seconds_expected=seconds_expected(info, span),
        gaps=tuple(gaps(times)),
        num_packet_errors=data.get("num_packet_errors", 0),
        num_corrupt=data.get("num_corrupt", 0),
    )


def _beyond(metadata: dict[str, Any], info: VideoInfo, span: TimeRange) -> Iterator[str]:
    """Yield a sentence if the range extends beyond that of a feature file."""
    start, end = metadata.get("span", ("0", None))
    first, last = Fraction(start), None if end is None else Fraction(end)
    if last is not None and info.duration_from_header and last >= info.duration_from_header:
        last = None
    wanted = info.duration_from_header if span.end is None else span.end
    if span.start < first or (last is not None and (wanted is None or wanted > last)):
        until = "the end" if last is None else format_time(last, digits=2)
        yield f"the features hold only {format_time(first, digits=2)} to {until}"


def _check_provenance(
    file: FeatureFile,
    path: str | Path,
    info: VideoInfo,
    encoder: Encoder,
    grid: dict[str, Any],
) -> None:
    """Check that a feature file was made from this video, encoder and sampling ``grid``.

    Raises:
        FeatureError: it was not; the message says in what it differs first.
    """
    stored, config = file.metadata, encoder.config
    name = config.name.partition(".")[0]  # the tag names weights, which have a hash
    fits = {
        "another video": stored["video"] == dataclasses.asdict(video_identity(path)),
        "another video stream": stored["stream_index"] == info.stream_index,
        "another backbone or weights": stored["weights_sha256"] == encoder.weights_sha256
        and stored["backbone"].partition(".")[0] == name,
        "another sampling": stored["sampling"] == grid,
        "other preprocessing": stored["preprocess"] == encoder.preprocess.key(),
        "other backbone arguments": stored["backbone_arguments"] == config.key(),
    }
    wrong = next((what for what, fine in fits.items() if not fine), None)
    if wrong is not None:  # the rest mostly follows from the first difference
        raise FeatureError(
            f"{file.path}: made with {wrong} than requested; extract again with "
            "`vtnstream extract VIDEO --model MODEL -o FILE.safetensors`"
        )


def features_of_file(
    path: str | Path,
    features: str | Path,
    encoder: Encoder,
    sampling: SamplingConfig,
    span: TimeRange,
    stream: int | None = None,
) -> OpenedFeatures:
    """Open features of an earlier ``extract`` after checking that video, encoder and grid match.

    Raises:
        FeatureError: they do not match, or no token lies in the range.
    """
    file = FeatureFile(features)
    info = probe(path, stream=stream)
    _check_provenance(file, path, info, encoder, sampling_grid(sampling, span, encoder.shape))
    tokens = FeatureSpan(file, *index_range(sampling, span))
    if not len(tokens.times):
        raise FeatureError(f"{file.path}: no token in the requested range")
    facts = RunFacts(len(tokens.times), file.num_features, from_store=True)
    partial = _partial_of_file(file, tokens, info, span)
    warnings = tuple(_rounding(file, encoder))
    opened = OpenedFeatures(
        features=tokens, info=info, partial=partial, warnings=warnings, facts=facts
    )
    return with_frames(path, opened)


def with_frames(path: str | Path, opened: OpenedFeatures) -> OpenedFeatures:
    """Add the numbers of the frames up to the end of the features, where they can be counted."""
    frames = frames_up_to(path, opened.info, opened.features.times, opened.frames)
    return dataclasses.replace(opened, frames=frames)
