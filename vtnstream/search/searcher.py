"""Search many videos for the same queries."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from vtnstream.config.loading import to_dict
from vtnstream.config.search import SearchConfig
from vtnstream.localization.curves import score_curves
from vtnstream.localization.peaks import Evidence, find_segments, match_of
from vtnstream.progress import Progress
from vtnstream.scoring.analysis import Analysis
from vtnstream.search.reading import WHOLE, Part
from vtnstream.search.scoring import QueryScorer
from vtnstream.search.vectors import Scored
from vtnstream.types import QueryAnswer, Report, ScoreTimeline, Segment, TokenTimes
from vtnstream.types.results import MATCH
from vtnstream.words.queries import Label


class Searcher(QueryScorer):
    """Queries as vectors, with which many videos are searched (see :class:`QueryScorer`)."""

    def search(
        self,
        path: str | Path,
        config: SearchConfig,
        part: Part = WHOLE,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """Look for all queries in one video.

        Args:
            path: a file or address.
            config: how many segments, and from which match on.
            part: the part of the video, or its stored features.
            progress: told how far decoding is.

        Returns:
            A report whose segments are in the order of time, each with its rank, with one
            answer for each query.

        Raises:
            VtnstreamError: one line that names the file and what to do.
        """
        answers: tuple[QueryAnswer, ...] = ()

        def analyse(scored: Scored, times: TokenTimes) -> Analysis:
            nonlocal answers
            analysis, answers = self._answered(scored, times, config)
            return analysis

        report = self._report(
            path,
            config.smoothing_seconds,
            analyse,
            None,
            part,
            progress,
        )
        settings = {**to_dict(config), "queries": [_described(query) for query in self.labels]}
        return dataclasses.replace(report, settings=settings, answers=answers, score_name=MATCH)

    def _answered(
        self, scored: Scored, times: TokenTimes, config: SearchConfig
    ) -> tuple[Analysis, tuple[QueryAnswer, ...]]:
        segments: list[Segment] = []
        answers, curves = [], []
        for number, query in enumerate(self.labels):
            one = scored.evidence[number]
            found: tuple[Segment, ...] = ()
            if one is not None:
                found = find_segments(one, query.name, config)
                curves.append((query.name, match_of(one.presence)))
                answer = _answer(query.name, one, config, bool(found))
            else:
                at = float(times.start_seconds[scored.at[number]])
                match = float(match_of(scored.peaks[number : number + 1])[0])
                answer = QueryAnswer(query.name, False, match, at)
            similarity = float(scored.similarity[number])
            known = None if np.isnan(similarity) else similarity
            answers.append(dataclasses.replace(answer, similarity=known))
            segments += found
        names = tuple(query.name for query in self.labels)
        drawn = ScoreTimeline(
            np.stack([values for _, values in curves], axis=1),
            times,
            tuple(name for name, _ in curves),
            True,
            MATCH,
        )
        ordered = tuple(sorted(segments, key=lambda s: (s.start, s.end, s.label)))
        scores = score_curves(drawn, segments)
        return Analysis((), ordered, names, (), scores=scores), tuple(answers)


def _answer(name: str, evidence: Evidence, config: SearchConfig, found: bool) -> QueryAnswer:
    smooth = evidence.smoothed(config.smoothing_seconds)
    best = int(smooth.presence.argmax())
    match = float(match_of(smooth.presence[best : best + 1])[0])
    return QueryAnswer(name, found, match, float(evidence.times.start_seconds[best]))


def _described(query: Label) -> str:
    """Return a query in the form of a line of a labels file."""
    parts = [*query.prompts, *(f"@{example}" for example in query.examples)]
    return f"{query.name} = {' | '.join(parts)}"
