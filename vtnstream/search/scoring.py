"""Prepare queries once and score many videos with them: the common part of search and labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from vtnstream.config import RuntimeConfig, TimelineConfig
from vtnstream.inference.report import report_of
from vtnstream.progress import NullProgress, Progress
from vtnstream.scoring.analysis import Analysis
from vtnstream.search.reading import Part, read_video, timed
from vtnstream.search.space import SearchSpace
from vtnstream.search.vectors import Scored, make_vectors, score
from vtnstream.types import Report, TokenTimes
from vtnstream.words.queries import Label

Analyse = Callable[[Scored, TokenTimes], Analysis]
"""Turns the evidence of all labels into the analysis of a report."""


class QueryScorer:
    """Labels as vectors, with which many videos are scored.

    Args:
        space: encodes the frames.
        labels: words, examples, or both for each.
        runtime: device, dtype, cache.
        progress: receives the examples that are decoded.

    Raises:
        VideoError: an example cannot be read.
        UsageError: a label has words, and the model understands none.
    """

    def __init__(
        self,
        space: SearchSpace,
        labels: Sequence[Label],
        *,
        runtime: RuntimeConfig | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.space = space
        self.labels = tuple(labels)
        self.runtime = runtime or RuntimeConfig()
        self._vectors = make_vectors(space, self.labels, self.runtime, progress or NullProgress())

    def _report(
        self,
        path: str | Path,
        smoothing_seconds: float,
        analyse: Analyse,
        options: TimelineConfig | None,
        part: Part,
        progress: Progress | None,
    ) -> Report:
        """Score one video and report what ``analyse`` makes of it."""
        began = time.perf_counter()
        space = self.space
        with read_video(path, space, self.runtime, part, progress) as source:
            middle = time.perf_counter()
            scored = score(source.features, self._vectors, space.project, smoothing_seconds)
            analysis = analyse(scored, source.features.times)
            source = timed(source, began, middle)
            computed_on = space.encoder.computed_on
            return report_of(
                path, source, space.about, computed_on, space.sampling, options, analysis
            )
