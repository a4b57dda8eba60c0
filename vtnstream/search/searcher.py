"""Queries made ready once and asked about many videos."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.config.loading import to_dict
from vtnstream.config.search import SearchConfig
from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.extract import extract_features
from vtnstream.errors import UsageError
from vtnstream.inference.report import report_of
from vtnstream.inference.request import TimeLike, time_range
from vtnstream.inference.source import Source, with_display_name
from vtnstream.localization.curves import score_curves
from vtnstream.localization.peaks import Evidence, evidence_of, find_segments, match_of
from vtnstream.progress import NullProgress, Progress
from vtnstream.scoring.analyze import Analysis
from vtnstream.search.examples import example_vector
from vtnstream.transport.spool import local_copy
from vtnstream.types import FloatArray, QueryAnswer, Report, ScoreTimeline, Segment
from vtnstream.types.results import MATCH
from vtnstream.words.queries import Label
from vtnstream.words.scoring import score_examples
from vtnstream.words.vectors import LabelVectors, identity


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """What frames are encoded with, and which frames.

    Attributes:
        encoder: frames to features.
        sampling: which frames of a video.
        about: name, source and hash of the model, for reports.
    """

    encoder: FrameEncoder
    sampling: SamplingConfig
    about: dict[str, Any]


class Searcher:
    """Queries as vectors, asked about many videos.

    Args:
        space: what frames are encoded with.
        queries: what is looked for, each with examples.
        runtime: device, dtype, cache.
        progress: told of examples that are decoded.

    Raises:
        VideoError: an example cannot be read.
        UsageError: a query has words, and the model understands none.
    """

    def __init__(
        self,
        space: SearchSpace,
        queries: Sequence[Label],
        *,
        runtime: RuntimeConfig | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.space = space
        self.queries = tuple(queries)
        self.runtime = runtime or RuntimeConfig()
        progress = progress or NullProgress()
        self.vectors = tuple(self._vectors(query, progress) for query in self.queries)

    def _vectors(self, query: Label, progress: Progress) -> LabelVectors:
        if query.prompts:
            raise UsageError(
                f"{self.space.about['name']} understands no words: search with --like, or name an "
                "image-text model with --model"
            )
        rows = [
            example_vector(
                example,
                self.space.encoder,
                self.space.sampling,
                identity,
                self.runtime,
                progress,
            )
            for example in query.examples
        ]
        return LabelVectors(query.name, None, np.stack(rows))

    def search(
        self,
        path: str | Path,
        config: SearchConfig,
        *,
        start: TimeLike | None = None,
        end: TimeLike | None = None,
        stream: int | None = None,
        progress: Progress | None = None,
    ) -> Report:
        """Look for all queries in one video.

        Args:
            path: a file or address.
            config: how many segments, and from which match on.
            start, end, stream: see :class:`vtnstream.inference.request.Request`.
            progress: told how far decoding is.

        Returns:
            A report whose segments are in the order of time, each with its rank, with one
            answer for each query.

        Raises:
            VtnstreamError: one line that names the file and what to do.
        """
        began = time.perf_counter()
        space, progress = self.space, progress or NullProgress()
        with (
            local_copy(path, progress, self.runtime.spool_limit_bytes) as place,
            extract_features(
                place,
                space.encoder,
                space.sampling,
                span=time_range(place, start, end, stream),
                runtime=self.runtime,
                stream=stream,
                progress=progress,
            ) as extracted,
        ):
            source = with_display_name(path, place, Source.of(extracted))
            middle = time.perf_counter()
            evidence = score_examples(source.features, self.vectors)
            analysis, answers = self._answered(evidence, config)
            now = time.perf_counter()
            facts = dataclasses.replace(
                source.facts, search_seconds=round(now - middle, 3), seconds=round(now - began, 3)
            )
            source = dataclasses.replace(source, facts=facts)
            report = report_of(
                path, source, space.about, space.encoder, space.sampling, None, analysis
            )
        settings = {**to_dict(config), "queries": [_described(query) for query in self.queries]}
        return dataclasses.replace(report, settings=settings, answers=answers, score_name=MATCH)

    def _answered(
        self, evidence: Sequence[Evidence], config: SearchConfig
    ) -> tuple[Analysis, tuple[QueryAnswer, ...]]:
        segments: list[Segment] = []
        answers = []
        for query, one in zip(self.queries, evidence, strict=True):
            found = find_segments(one, query.name, config)
            segments += found
            answers.append(_answer(query.name, one, config, bool(found)))
        times = evidence[0].times
        scores: FloatArray = np.stack([match_of(one.presence) for one in evidence], axis=1)
        names = tuple(query.name for query in self.queries)
        timeline = ScoreTimeline(scores, times, names, True, MATCH)
        curves = score_curves(timeline, segments)
        ordered = tuple(sorted(segments, key=lambda s: (s.start, s.end, s.label)))
        return Analysis((), ordered, names, (), scores=curves), tuple(answers)


def _answer(name: str, evidence: Evidence, config: SearchConfig, found: bool) -> QueryAnswer:
    smooth = evidence.smoothed(config.smoothing_seconds)
    best = int(smooth.presence.argmax())
    match = float(match_of(smooth.presence[best : best + 1])[0])
    return QueryAnswer(name, found, match, float(evidence.times.start_seconds[best]))


def _described(query: Label) -> str:
    """A query as its line in a labels file."""
    parts = [*query.prompts, *(f"@{example}" for example in query.examples)]
    return f"{query.name} = {' | '.join(parts)}"


def lowest_evidence(config: SearchConfig) -> float:
    """The evidence that a segment's peak must reach."""
    return evidence_of(config.min_score)
