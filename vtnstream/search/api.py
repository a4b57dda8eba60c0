"""Search and labels in one call, for Python users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vtnstream.config import RuntimeConfig, SamplingConfig, TimelineConfig
from vtnstream.config.search import SearchConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.errors import UsageError
from vtnstream.inference.request import TimeLike
from vtnstream.progress import Progress
from vtnstream.search.labeller import Labeller
from vtnstream.search.reading import Part
from vtnstream.search.searcher import Searcher
from vtnstream.search.space import SearchSpace, encoder_space, model_space
from vtnstream.types import Report
from vtnstream.words.published import DEFAULT_WORDS
from vtnstream.words.queries import Label, check_labels, parse_label, read_labels

Model = str | Path | FrameEncoder


def find_moments(
    path: str | Path,
    queries: str | Sequence[str | Label],
    *,
    model: Model = DEFAULT_WORDS,
    config: SearchConfig | None = None,
    sampling: SamplingConfig | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    stream: int | None = None,
    runtime: RuntimeConfig | None = None,
    progress: Progress | None = None,
    features: str | Path | None = None,
) -> Report:
    """Find the moments of a video that match words or look like an example.

    Args:
        path: the video: a file, or as text an address.
        queries: one or several, as ``vtnstream search`` reads them: ``"a dog runs"``,
            ``"goal = the ball in the net | @goal.jpg"``, ``"@match1.mp4@12:30-12:41"``.
        model: an image-text model or a trained model by name or folder, or a frame encoder
            (:meth:`FrameEncoder.from_backbone`), which understands examples alone. For many
            videos see :class:`vtnstream.search.searcher.Searcher`.
        config: how many segments, and from which match on.
        sampling: which frames; None is the model's own.
        start, end, stream: see :class:`vtnstream.inference.request.Request`.
        runtime: device, dtype, cache.
        progress: told how far the work is.
        features: file of :func:`vtnstream.extract` that is read instead of the video.

    Returns:
        A report with ranked ``segments`` (half-open, in seconds of the source), and ``answers``,
        one for each query, which say whether it was found.

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    given = [queries] if isinstance(queries, str) else queries
    labels = tuple(parse_label(q) if isinstance(q, str) else q for q in given)
    if not labels or not all(label.prompts or label.examples for label in labels):
        raise UsageError("no query: give words, or an example as @IMAGE or @VIDEO@START-END")
    check_labels(labels, "queries")
    space = _space(model, runtime, sampling)
    searcher = Searcher(space, labels, runtime=runtime, progress=progress)
    part = Part(start, end, stream, features)
    return searcher.search(path, config or SearchConfig(), part, progress=progress)


def label(
    path: str | Path,
    labels: str | Sequence[str | Label],
    *,
    model: Model = DEFAULT_WORDS,
    multi_label: bool = False,
    options: TimelineConfig | None = None,
    sampling: SamplingConfig | None = None,
    start: TimeLike | None = None,
    end: TimeLike | None = None,
    stream: int | None = None,
    runtime: RuntimeConfig | None = None,
    progress: Progress | None = None,
    features: str | Path | None = None,
) -> Report:
    """Label a video with words or examples in place of a trained model's classes.

    Args:
        path: the video: a file, or as text an address.
        labels: as ``vtnstream timeline --labels`` reads them: ``"goal; corner; replay"``, the
            path of a file with one label a line, or a sequence of such lines.
        model: as for :func:`find_moments`.
        multi_label: labels may overlap; each is scored separately.
        options: how to localise.
        sampling, start, end, stream, runtime, progress, features: as for :func:`find_moments`.

    Returns:
        A report with ``classes`` and ``segments``; its scores are matches, not probabilities.

    Raises:
        VtnstreamError: one line that names the file and what to do.
    """
    if isinstance(labels, str):
        named = read_labels(labels)
    else:
        named = tuple(parse_label(one) if isinstance(one, str) else one for one in labels)
        check_labels(named, "labels")
    labeller = Labeller(
        _space(model, runtime, sampling),
        named,
        multi_label=multi_label,
        runtime=runtime,
        progress=progress,
    )
    part = Part(start, end, stream, features)
    return labeller.label(path, options or TimelineConfig(), part, progress=progress)


def _space(
    model: Model, runtime: RuntimeConfig | None, sampling: SamplingConfig | None
) -> SearchSpace:
    if isinstance(model, FrameEncoder):
        return encoder_space(model, sampling)
    return model_space(model, runtime or RuntimeConfig(), sampling)
