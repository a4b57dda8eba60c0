"""The functions of the Python API: one video in, a :class:`vtnstream.types.Report` out.

import vtnstream

report = vtnstream.timeline("movie.mkv", window=64, model="my-model")
for segment in report.segments:
    print(segment.start, segment.end, segment.label, segment.score)
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from vtnstream.analyzer import Analyzer
from vtnstream.config import BackboneConfig, RuntimeConfig, SamplingConfig, TimelineConfig
from vtnstream.config.shipped import BUNDLED_MODEL
from vtnstream.config.summary import SummaryConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.features.file import FeatureFile
from vtnstream.inference.extract_file import extract_to_file
from vtnstream.inference.process_settings import is_plain, note_torch
from vtnstream.inference.request import Request, TimeLike
from vtnstream.inference.stored_answers import StoredAnswers
from vtnstream.progress import NullProgress, Progress
from vtnstream.types import AttentionMap, Features, Report

if TYPE_CHECKING:
    from vtnstream.encoding.encoder import FrameEncoder
    from vtnstream.models.architectures import VideoModel


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
    """Classify a video: one pass of the model over the whole sequence, or with ``views``
    (``"10x3"``) the mean over clips and crops.

    Args:
        path: the video: a file, or as text an address (http, https, s3, gs, ...).
        model: a model folder, a hub name, or a loaded :class:`vtnstream.models.vtn.model.VTN`; None
            is the bundled model of edits. For many videos see
            :class:`vtnstream.analyzer.Analyzer`.
        sampling, start, end, features, method, stream, views, whole: see
            :class:`vtnstream.inference.request.Request`.
        runtime: device, dtype, cache.
        progress: receives the state of the work.

    Returns:
        A report with ``classes``, best first, and ``partial`` if some of the video could not be
        read.

    Raises:
        VtnstreamError: the video or a setting cannot be used; one line names it and the remedy.
    """
    if isinstance(views, str):
        views = ViewsConfig.parse(views)
    request = Request(sampling, start, end, features, method, stream, views, whole)
    return _answer(path, model, request, None, runtime, progress)


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
    """Find labelled segments in a video, and classify the whole.

    Args:
        path: the video: a file, or as text an address (http, https, s3, gs, ...).
        window: length of the sliding window in tokens; a value adds sliding localisation.
        model: as for :func:`classify`.
        options: all other options of localisation.
        sampling, start, end, features, method, stream, whole: see
            :class:`vtnstream.inference.request.Request`.
        runtime: device, dtype, cache.
        progress: receives the state of the work.

    Returns:
        A report with ``classes`` and ``segments`` (half-open, in seconds of the source).

    Raises:
        VtnstreamError: the video or a setting cannot be used; one line names it and the remedy.
    """
    localize = options or TimelineConfig()
    if window is not None:
        localize = replace(localize, window=window)
    request = Request(sampling, start, end, features, method, stream, whole=whole)
    return _answer(path, model, request, localize, runtime, progress)


def _answer(
    path: str | Path,
    model: str | Path | VideoModel | None,
    request: Request,
    localize: TimelineConfig | None,
    runtime: RuntimeConfig | None,
    progress: Progress | None,
    summary: SummaryConfig | None = None,
) -> Report:
    """Answer from the store if the outputs of the model are there, else load the model.

    In a program that imported torch itself, nothing is taken from the store, and no outputs are
    put there (:func:`vtnstream.inference.process_settings.is_plain`).
    """
    runtime = runtime or RuntimeConfig()
    answers = _answers(model, runtime)
    report = answers.report(path, request, localize, summary) if answers else None
    if report is not None:
        return report
    analyzer = _analyzer(model, runtime)
    if localize is None:
        return analyzer.classify(path, request, progress=progress)
    if summary is not None:
        return analyzer.summarize(path, request, localize, summary, progress=progress)
    return analyzer.timeline(path, request, localize, progress=progress)


def _answers(model: str | Path | VideoModel | None, runtime: RuntimeConfig) -> StoredAnswers | None:
    """Return the stored outputs of a model, if they may be used in this process."""
    if not is_plain() or not (model is None or isinstance(model, (str, Path))):
        return None
    return StoredAnswers.of(model, BUNDLED_MODEL if model is None else os.fspath(model), runtime)


def _analyzer(model: str | Path | VideoModel | None, runtime: RuntimeConfig) -> Analyzer:
    """Load a model, and let it store outputs if they are those of a plain process."""
    plain = is_plain()
    analyzer = Analyzer(model, runtime=runtime, keep_outputs=plain)
    if plain:
        note_torch()
    return analyzer


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
    """Show which moments of a video its class depends on: the weights of [CLS] (paper Fig. 3).

    Arguments as for :func:`classify`.

    Returns:
        the report of :func:`classify` and the weights of every layer and head.

    Raises:
        VtnstreamError: the video or a setting cannot be used; one line names it and the remedy.
    """
    request = Request(sampling, start, end, features, "chunked", stream)
    runtime = runtime or RuntimeConfig()
    answers = _answers(model, runtime)
    found = answers.attention(path, request) if answers else None
    return found or _analyzer(model, runtime).attention(path, request, progress=progress)


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
    """Select the best parts of a video (:mod:`vtnstream.editing.summary`).

    Args:
        path: the video: a file, or as text an address (http, https, s3, gs, ...).
        length: longest duration of the summary in seconds.
        model: as for :func:`classify`.
        config: all other options of the selection.
        options: options of the timeline whose segments are selected.
        start, end, stream: see :class:`vtnstream.inference.request.Request`.
        runtime: device, dtype, cache.
        progress: receives the state of the work.

    Returns:
        A report whose segments are the selected parts, in order of time.

    Raises:
        VtnstreamError: the video or a setting cannot be used; one line names it and the remedy.
    """
    chosen = replace(config or SummaryConfig(), length=length)
    request = Request(None, start, end, None, "chunked", stream)
    options = options or TimelineConfig()
    return _answer(path, model, request, options, runtime, progress, chosen)


@overload
def extract(
    path: str | Path,
    encoder: FrameEncoder | None = None,
    *,
    output: str | Path,
    backbone: str | BackboneConfig | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
    sampling: SamplingConfig | None = None,
    fps: float | Fraction | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    stream: int | None = None,
    progress: Progress | None = None,
) -> Report: ...


@overload
def extract(
    path: str | Path,
    encoder: FrameEncoder | None = None,
    *,
    output: None = None,
    backbone: str | BackboneConfig | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
    sampling: SamplingConfig | None = None,
    fps: float | Fraction | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    stream: int | None = None,
    progress: Progress | None = None,
) -> Features: ...


def extract(
    path: str | Path,
    encoder: FrameEncoder | None = None,
    *,
    output: str | Path | None = None,
    backbone: str | BackboneConfig | None = None,
    weights: str | Path | None = None,
    pretrained: bool = False,
    sampling: SamplingConfig | None = None,
    fps: float | Fraction | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    runtime: RuntimeConfig | None = None,
    stream: int | None = None,
    progress: Progress | None = None,
) -> Features | Report:
    """Extract the features of a video: one vector of a backbone for each sampled frame.

    Args:
        path: the video: a file, or as text an address (http, https, s3, gs, ...).
        encoder: frames to features, for many videos with one backbone.
        output: a file to write: ``.safetensors`` (see :func:`load_features`), or ``.npy`` or
            ``.npz`` for numpy; None returns the features instead.
        backbone: a timm name such as ``"deit_tiny_patch16_224"``, in place of ``encoder``.
        weights: a file or folder with the weights of ``backbone``.
        pretrained: use the weights that timm names for ``backbone``, from the Hub.
        sampling: which frames; None is the default sampling.
        fps: frames per second to sample, in place of ``sampling``.
        start, end, stream: see :class:`vtnstream.inference.request.Request`.
        runtime: device, dtype, cache.
        progress: receives the state of the work.

    Returns:
        With ``output`` a report without classes or segments: what was read, and whether it is
        partial. Without it the features in memory: ``values`` (T, D) float32 and ``times``.

    Raises:
        UsageError: no backbone is given, two are, or one without weights; or ``fps`` together with
            ``sampling``.
        VideoDecodeError: without ``output``, if only a part of the video could be read.
        VtnstreamError: the video or a setting cannot be used; one line names it and the remedy.
    """
    runtime, progress = runtime or RuntimeConfig(), progress or NullProgress()
    encoder = _encoder(encoder, backbone, weights, pretrained, runtime)
    sampling = _sampling(sampling, fps)
    request = Request(sampling, start, end, stream=stream)
    if output is not None:
        return extract_to_file(
            path, encoder, sampling, output, request=request, runtime=runtime, progress=progress
        )
    with tempfile.TemporaryDirectory(prefix="vtnstream-") as folder:
        file = Path(folder, "features.safetensors")
        report = extract_to_file(
            path, encoder, sampling, file, request=request, runtime=runtime, progress=progress
        )
        if report.partial is not None:
            raise VideoDecodeError(
                f"{path}: read in part only ({'; '.join(report.partial.reasons)}): name an output "
                "to keep what could be read"
            )
        return load_features(file)


def load_features(path: str | Path) -> Features:
    """Read a feature file of :func:`extract` or ``vtnstream extract`` into memory.

    Returns:
        ``values`` (T, D) float32, and ``times`` of the T tokens in seconds of the video.

    Raises:
        FeatureError: it is no feature file, or its bytes are not those that were written.
    """
    file = FeatureFile(path)
    count = max(1, len(file.times))
    blocks = [np.asarray(block) for block in file.blocks(count)]
    empty = np.empty((0, file.num_features), np.float32)
    return Features(np.concatenate(blocks) if blocks else empty, file.times)


def _encoder(
    encoder: FrameEncoder | None,
    backbone: str | BackboneConfig | None,
    weights: str | Path | None,
    pretrained: bool,
    runtime: RuntimeConfig,
) -> FrameEncoder:
    if (encoder is None) == (backbone is None):
        raise UsageError("name one backbone: either backbone=... or an encoder")
    if backbone is None:
        if weights is not None or pretrained:
            raise UsageError("weights belong to backbone=...: an encoder brings its own")
        assert encoder is not None
        return encoder
    if weights is None and not pretrained:
        raise UsageError(
            f"{backbone}: random weights give no useful features: name weights=FILE, or "
            "pretrained=True for those on the Hub"
        )
    from vtnstream.encoding.encoder import FrameEncoder

    return FrameEncoder.from_backbone(
        backbone, weights=weights, pretrained=pretrained, runtime=runtime
    )


def _sampling(sampling: SamplingConfig | None, fps: float | Fraction | None) -> SamplingConfig:
    if fps is None:
        return sampling or SamplingConfig()
    if sampling is not None:
        raise UsageError("fps and sampling exclude each other")
    return SamplingConfig(fps=Fraction(fps).limit_denominator(1_000_000))
