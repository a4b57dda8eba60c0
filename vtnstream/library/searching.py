"""Search the videos of a library: the nearest frames, scored as in a single video."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from vtnstream.config.loading import to_dict
from vtnstream.config.search import SearchConfig
from vtnstream.library.rows import Hits, VideoRow
from vtnstream.library.store import LibraryStore
from vtnstream.localization.peaks import match_of
from vtnstream.report.reading import report_from_json
from vtnstream.search.vectors import QueryVectors
from vtnstream.types import FloatArray, QueryAnswer, Report, Segment
from vtnstream.types.results import MATCH
from vtnstream.words.scoring import WORD_FLOOR, Floor
from vtnstream.words.similarity import example_similarities
from vtnstream.words.vectors import LabelVectors, identity

CANDIDATES = 400
"""Frames that a query looks at."""


def search_library(
    store: LibraryStore,
    vectors: QueryVectors,
    config: SearchConfig,
    *,
    exact: bool = False,
) -> list[Report]:
    """Look for queries in all videos of a library.

    A frame near a query is scored as in the search of one video: words against unrelated words,
    examples against the similarity of the video's own frames. Frames that follow each other make
    a segment. Unlike there, evidence is not smoothed and unrelated words are not searched for.
    For examples, the similarity of each video that shows one is that of the search of one video.

    Args:
        store: the library.
        vectors: of the queries, in the library's space.
        config: segments of a query over all videos, lowest match, time to join over.
        exact: compare every vector, even if there is an index.

    Returns:
        A report for each video that shows something, in the order of
        :attr:`~vtnstream.types.QueryAnswer.order`, best first; its segments have their rank over
        all videos.

    Raises:
        UsageError: vectors of another space.
        StoreError: the library cannot be read.
    """
    videos = {row.batch: row for row in store.videos().values()}
    found: dict[str, list[Segment]] = {}
    answers: dict[str, list[QueryAnswer]] = {}
    for label in vectors.labels:
        segments = _segments(store, label, vectors.background, videos, config, exact)
        kept = sorted(
            (item for item in segments if item[1].score >= config.min_score),
            key=lambda item: -item[1].score,
        )[: config.max_segments]
        for rank, (batch, segment) in enumerate(kept, 1):
            found.setdefault(batch, []).append(dataclasses.replace(segment, rank=rank))
        for batch in {batch for batch, _ in kept}:
            best = max((s for b, s in kept if b == batch), key=lambda s: s.score)
            similarity = _similarity(store, videos[batch], label)
            answer = QueryAnswer(label.name, True, best.score, best.start, similarity)
            answers.setdefault(batch, []).append(answer)
    ordered = sorted(found, key=lambda batch: -max(answer.order for answer in answers[batch]))
    names = tuple(label.name for label in vectors.labels)
    return [
        _report(videos[batch], found[batch], answers[batch], names, config, store.name)
        for batch in ordered
    ]


def _similarity(store: LibraryStore, row: VideoRow, label: LabelVectors) -> float | None:
    """The similarity of a video to the nearest example of a label; None if it has none."""
    if not len(label.examples):
        return None
    features = store.features(row)
    cosines = label.examples @ features.values.T
    floor = Floor.between(row.tokens, _known(row.near), _known(row.far)).cosine
    found = example_similarities(features, cosines, label.examples, label.seconds, floor, identity)
    return float(found.max())


def _report(
    row: VideoRow,
    segments: Sequence[Segment],
    answers: Sequence[QueryAnswer],
    names: tuple[str, ...],
    config: SearchConfig,
    library: str,
) -> Report:
    report = report_from_json(row.report, where=f"library {library}")
    return dataclasses.replace(
        report,
        segments=tuple(sorted(segments, key=lambda s: (s.start, s.end, s.label))),
        labels=names,
        answers=tuple(answers),
        settings={**to_dict(config), "library": library},
        score_name=MATCH,
    )


def _segments(
    store: LibraryStore,
    label: LabelVectors,
    background: FloatArray | None,
    videos: dict[str, VideoRow],
    config: SearchConfig,
    exact: bool,
) -> list[tuple[str, Segment]]:
    """Return the segments of one query, each with the batch of its video."""
    evidence: dict[tuple[str, float], tuple[float, float]] = {}
    sides = [] if label.text is None else [(label.text, True)]
    sides += [(row, False) for row in label.examples]
    parts = 1 if label.text is None or not len(label.examples) else 2
    for vector, is_text in sides:
        hits = store.nearest(vector, CANDIDATES, exact=exact)
        values = (
            _word_evidence(hits, vector, background)
            if is_text
            else _example_evidence(hits, vector, videos)
        )
        for number, batch in enumerate(hits.batches):
            if batch not in videos:  # of a video that is not written to its end, or was replaced
                continue
            key = (batch, float(hits.starts[number]))
            value, end = float(values[number]) / parts, float(hits.ends[number])
            before = evidence.get(key)
            if before is not None:
                value = before[0] + value if parts == 2 and not is_text else max(before[0], value)
            evidence[key] = (value, end)
    return _joined(evidence, label.name, config.smoothing_seconds)


def _word_evidence(hits: Hits, vector: FloatArray, background: FloatArray | None) -> FloatArray:
    assert background is not None
    others = hits.vectors @ background.T
    deviations = np.maximum(others.std(axis=1), 1e-6)
    scores = (hits.vectors @ vector - others.mean(axis=1)) / deviations
    return np.asarray(scores - WORD_FLOOR, np.float32)


def _example_evidence(hits: Hits, vector: FloatArray, videos: dict[str, VideoRow]) -> FloatArray:
    cosines = hits.vectors @ vector
    out = np.full(len(cosines), -np.inf, np.float32)
    for number, batch in enumerate(hits.batches):
        row = videos.get(batch)
        if row is not None:
            floor = Floor.between(row.tokens, _known(row.near), _known(row.far))
            out[number] = (cosines[number] - floor.cosine) / floor.width
    return out


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _joined(
    evidence: dict[tuple[str, float], tuple[float, float]], name: str, gap: float
) -> list[tuple[str, Segment]]:
    """Merge frames that are at most ``gap`` seconds apart; the match is that of the best frame."""
    found: list[tuple[str, Segment]] = []
    for (batch, start), (value, end) in sorted(evidence.items()):
        match = float(match_of(np.array([value], np.float32))[0])
        if found and found[-1][0] == batch and start - found[-1][1].end <= gap:
            last = found[-1][1]
            if (match >= 0.5) == (last.score >= 0.5):
                joined = dataclasses.replace(last, end=end, score=max(match, last.score))
                found[-1] = (batch, joined)
                continue
        found.append((batch, Segment(start, end, name, match)))
    return found
