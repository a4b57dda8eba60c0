"""One video in, a :class:`vtnstream.types.Report` out: what the commands call, and Python users.

import vtnstream
report = vtnstream.timeline("movie.mkv", window=64, model="my-model")
for segment in report.segments:
    print(segment.start, segment.end, segment.label, segment.score)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vtnstream.analyzer import Analyzer
from vtnstream.config import RuntimeConfig, SamplingConfig, TimelineConfig
from vtnstream.config.summary import SummaryConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.extract import extract_features
from vtnstream.errors import UsageError
from vtnstream.features.file import write_features
from vtnstream.inference.feature_files import file_metadata
from vtnstream.inference.report import report_of
from vtnstream.inference.request import Request, TimeLike, time_range
from vtnstream.inference.source import Source, with_display_name
from vtnstream.models.architectures import VideoModel
from vtnstream.progress import NullProgress, Progress
from vtnstream.transport.spool import local_copy
from vtnstream.types import AttentionMap, Report


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
        path: the video: a file, or as text an address (http, https, s3, gs, ...).
        model: a model folder, a hub name, or a loaded :class:`vtnstream.models.vtn.model.VTN`; None
            is the bundled model of edits. For many videos see
            :class:`vtnstream.analyzer.Analyzer`.
        sampling, start, end, features, method, stream, views, whole: see
            :class:`vtnstream.inference.request.Request`.
        runtime: device, dtype, cache.
        progress: told how far the work is.

    Returns:
        A report with ``classes``, best first, and ``partial`` where not all could be read.

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    if isinstance(views, str):
        views = ViewsConfig.parse(views)
    request = Request(sampling, start, end, features, method, stream, views, whole)
    return Analyzer(model, runtime=runtime).classify(path, request, progress=progress)


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
        path: the video: a file, or as text an address (http, https, s3, gs, ...).
        window: tokens of the sliding window; asking for one adds sliding localisation.
        model: as for :func:`classify`.
        options: all other options of localisation.
        sampling, start, end, features, method, stream, whole: see
            :class:`vtnstream.inference.request.Request`.
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
    request = Request(sampling, start, end, features, method, stream, whole=whole)
    return Analyzer(model, runtime=runtime).timeline(path, request, localize, progress=progress)


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
    request = Request(sampling, start, end, features, "chunked", stream)
    return Analyzer(model, runtime=runtime).attention(path, request, progress=progress)


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
        path: the video: a file, or as text an address (http, https, s3, gs, ...).
        length: seconds the summary may last.
        model: as for :func:`classify`.
        config: all other options of the choice.
        options: of the timeline whose segments are chosen from.
        start, end, stream: see :class:`vtnstream.inference.request.Request`.
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
        Request(None, start, end, None, "chunked", stream),
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
    runtime, progress = runtime or RuntimeConfig(), progress or NullProgress()
    with (
        local_copy(path, progress, runtime.spool_limit_bytes) as place,
        extract_features(
            place,
            encoder,
            sampling,
            span=time_range(place, start, end, stream),
            runtime=runtime,
            stream=stream,
            progress=progress,
        ) as extracted,
    ):
        write_features(output, extracted.features, file_metadata(extracted))
        source = with_display_name(path, place, Source.of(extracted))
        source.facts["output"] = str(output)
        about = {
            "name": encoder.config.name,
            "source": None,
            "weights_sha256": encoder.weights_sha256,
        }
        return report_of(path, source, about, encoder, sampling, None, None)
