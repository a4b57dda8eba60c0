"""Write the features of one video to a feature file, as ``vtnstream extract`` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.engines.protocols import Encoder
from vtnstream.encoding.engines.state import EngineState
from vtnstream.encoding.extract import extract_features
from vtnstream.encoding.stored import ExtractedFeatures
from vtnstream.errors import UsageError
from vtnstream.features.file import check_suffix, write_features
from vtnstream.inference.feature_files import file_metadata
from vtnstream.inference.report import report_of
from vtnstream.inference.request import Request, time_range
from vtnstream.progress import Progress
from vtnstream.types import Report
from vtnstream.video.local_copy import local_copy


def extract_to_file(
    path: str | Path,
    encoder: Encoder,
    sampling: SamplingConfig,
    output: str | Path,
    *,
    request: Request,
    runtime: RuntimeConfig,
    progress: Progress,
    engines: EngineState | None = None,
    before_rename: Callable[[Path], None] | None = None,
) -> Report:
    """Extract the features of a video and write them to ``output``.

    Args:
        path: the video: a file, or as text an address.
        encoder: frames to features.
        sampling: which frames.
        output: the feature file (see :mod:`vtnstream.features.file`), written atomically in the
            format of its suffix.
        request: the range and the stream; its other fields have no effect here.
        runtime: device, dtype, cache.
        progress: receives the state of the work.
        engines: engines of this encoder that were prepared for earlier videos.
        before_rename: called with the complete temporary file.

    Returns:
        A report without classes or segments: what was read, and whether it is partial.

    Raises:
        VtnstreamError: the video or a setting cannot be used; one line names it and the remedy.
    """
    check_suffix(output)
    if encoder.shape.clip:
        raise UsageError(
            "this model reads clips and has no features per token to extract: use one of form "
            "factorised-encoder"
        )
    with (
        local_copy(path, progress, runtime.spool_limit_bytes) as place,
        extract_features(
            place,
            encoder,
            sampling,
            span=time_range(place, request.start, request.end, request.stream),
            runtime=runtime,
            stream=request.stream,
            progress=progress,
            engines=engines,
        ) as extracted,
    ):
        write_features(
            output, extracted.features, file_metadata(extracted), before_rename=before_rename
        )
        return _report(path, place, extracted, encoder, sampling, output)


def _report(
    path: str | Path,
    place: str | Path,
    extracted: ExtractedFeatures,
    encoder: Encoder,
    sampling: SamplingConfig,
    output: str | Path,
) -> Report:
    source = extracted.named(path, place)
    facts = dataclasses.replace(source.facts, output=str(output))
    source = dataclasses.replace(source, facts=facts)
    about = {
        "name": encoder.config.name,
        "source": None,
        "weights_sha256": encoder.weights_sha256,
    }
    return report_of(path, source, about, encoder.computed_on, sampling, None, None)
