"""Moments of public sets by words: retrieval, localisation, and absent queries."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.words.layouts import Moment, read_set
from benchmarks.words.scores import (
    Presence,
    average_precision,
    mean_average_precision,
    recall_at_one,
)
from benchmarks.words.spaces import runtime_of, space_of
from vtnstream.config.search import SearchConfig
from vtnstream.errors import UsageError
from vtnstream.metrics.localization import localization_scores
from vtnstream.search.searcher import Searcher
from vtnstream.types import Segment
from vtnstream.words.queries import Label

ABSENT = 5
"""Queries of other videos that are tested on each video."""

_THUMOS = (0.3, 0.4, 0.5, 0.6, 0.7)


def moments(options: argparse.Namespace, result: common.Result) -> None:
    """Score a public set with an image-text model.

    Raises:
        UsageError: no image-text model is named.
    """
    if options.model is None:
        raise UsageError("a public set is asked in words: name --model")
    found = read_set(options.set, options.data)
    by_video: dict[Path, list[Moment]] = {}
    for moment in found:
        by_video.setdefault(moment.video, []).append(moment)
    if options.most:
        by_video = dict(list(by_video.items())[: options.most])
    queries = sorted({moment.query for moment in found})
    random, space = np.random.default_rng(options.seed), space_of(options)
    everything, presence = SearchConfig(max_segments=10, min_score=0.0), Presence()
    recalls: list[bool] = []
    precisions: list[float] = []
    halves: list[float] = []
    pairs: list[tuple[list[Segment], list[Segment]]] = []
    for number, (video, shown) in enumerate(by_video.items(), 1):
        common.say(f"{number}/{len(by_video)} {video.name}")
        own = {moment.query: moment.spans for moment in shown}
        foreign = [query for query in queries if query not in own]
        random.shuffle(foreign)
        asked = [*own, *foreign[:ABSENT]]
        labels = [Label(query, (query,)) for query in asked]
        searcher = Searcher(space, labels, runtime=runtime_of(options))
        report = searcher.search(video, everything)
        for query, spans in own.items():
            ranked = sorted(
                (s for s in report.segments or () if s.label == query), key=lambda s: s.rank or 0
            )
            answer = [(s.start, s.end) for s in ranked]
            recalls.append(recall_at_one(answer, spans))
            precisions.append(mean_average_precision(answer, spans))
            halves.append(average_precision(answer, spans, 0.5))
        for one in report.answers:
            answered = one.match >= SearchConfig().min_score
            presence.add(shown=one.label in own, answered=answered, seconds=report.end_seconds)
        truth = [Segment(a, b, query, 1.0) for query, spans in own.items() for a, b in spans]
        pairs.append(([s for s in report.segments or () if s.label in own], truth))
    table = result.table(f"{options.set}, {space.about['name']}", "figure", "%")
    table.add("R1@.5", 100 * float(np.mean(recalls)))
    table.add("mAP, mean of tIoU .5 to .95", 100 * float(np.mean(precisions)))
    table.add("mAP@.5", 100 * float(np.mean(halves)))
    if options.set == "thumos14":
        scores = localization_scores(pairs, thresholds=_THUMOS)
        for threshold, value in scores.mean.items():
            table.add(f"localisation mAP@{threshold:g}", 100 * value)
    table.add("shown queries answered", 100 * presence.found / max(1, presence.present))
    table.add("absent queries answered", 100 * presence.answered / max(1, presence.absent))
    if presence.false_answers_an_hour is not None:
        result.notes.append(
            f"{presence.false_answers_an_hour:.2f} false answers for an hour of video and query."
        )
