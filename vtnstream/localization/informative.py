"""Choose the spans of videos whose labels would improve a model most.

These are spans that resemble as much as possible of what the model is uncertain about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtnstream.localization.runs import split_runs
from vtnstream.types import FloatArray, ScoreTimeline

_MOST_CANDIDATES = 4_000
"""Number of spans that are compared with each other: 64 MB of similarities."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A span that could be labelled.

    Attributes:
        path: the video.
        start, end: in seconds.
        guess: the label with the highest mean score.
        score: its mean score.
        uncertainty: 0 if each token has one certain label, 1 if all labels have equal scores.
        vector: (D,) mean feature.
    """

    path: Path
    start: float
    end: float
    guess: str
    score: float
    uncertainty: float
    vector: FloatArray


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A chosen span.

    Attributes:
        rank: from 1, the most informative span.
        path: the video.
        start, end: in seconds.
        guess: the label with the highest mean score, to be corrected.
        score: its mean score.
        uncertainty: as in :class:`Candidate`.
        novelty: 1 - the similarity to the most similar span chosen before.
    """

    rank: int
    path: Path
    start: float
    end: float
    guess: str
    score: float
    uncertainty: float
    novelty: float


def candidate_spans(
    path: Path, timeline: ScoreTimeline, features: FloatArray, length: float
) -> list[Candidate]:
    """Return spans of a video that overlap by half; none crosses a gap.

    Args:
        path: the video.
        timeline: scores of N tokens.
        features: (N, D) features of the same tokens.
        length: seconds of a span; a shorter run of tokens is one span.
    """
    doubt = uncertainty(timeline.scores, timeline.multi_label)  # (N,)
    found = []
    first = 0
    for run in split_runs(timeline.scores, timeline.times):
        count = len(run.scores)
        seconds = float(run.edges[count] - run.edges[0])
        size = min(max(round(count * length / seconds), 1), count)
        for begin in _starts(count, size):
            tokens = slice(first + begin, first + begin + size)
            mean = timeline.scores[tokens].mean(0)
            best = int(mean.argmax())
            found.append(
                Candidate(
                    path,
                    float(run.edges[begin]),
                    float(run.edges[begin + size]),
                    timeline.labels[best],
                    float(mean[best]),
                    float(doubt[tokens].mean()),
                    features[tokens].mean(0),
                )
            )
        first += count
    return found


def _starts(count: int, size: int) -> list[int]:
    """Return the first tokens of spans of ``size`` that cover ``count`` tokens."""
    last = count - size
    return sorted({*range(0, last + 1, max(size // 2, 1)), last})


def uncertainty(scores: FloatArray, multi_label: bool) -> FloatArray:
    """Return the (N,) uncertainty of scores (N, K), 0 to 1.

    It is the entropy of each row relative to the highest possible one; with ``multi_label`` the
    mean over the labels of the entropy of each score.
    """
    odds = np.clip(scores.astype(np.float64), 1e-9, 1.0)
    if multi_label:
        rest = np.clip(1 - odds, 1e-9, 1.0)
        each = -(odds * np.log(odds) + rest * np.log(rest)) / math.log(2)
        entropy = each.mean(1)
    else:
        entropy = -(odds * np.log(odds)).sum(1) / math.log(max(scores.shape[1], 2))
    made: FloatArray = entropy.astype(np.float32)
    return made


class CandidatePool:
    """Spans of any number of videos, of which a limited number is kept.

    Of more, as many are drawn at random, each with the same probability (reservoir sampling); equal
    spans in equal order give an equal draw.
    """

    def __init__(self, most: int = _MOST_CANDIDATES) -> None:
        self.kept: list[Candidate] = []
        self._most = most
        self._num_seen = 0
        self._rng = np.random.default_rng(0)

    def add(self, candidates: Iterable[Candidate]) -> None:
        """Add the spans of a video."""
        for one in candidates:
            self._num_seen += 1
            if len(self.kept) < self._most:
                self.kept.append(one)
                continue
            place = int(self._rng.integers(self._num_seen))
            if place < self._most:
                self.kept[place] = one


def choose_spans(candidates: Sequence[Candidate], count: int) -> list[Suggestion]:
    """Return the ``count`` most informative spans.

    Each is the one that adds most to the sum, over all spans, of the root of their uncertainty x
    the similarity to the most similar chosen span (facility location, chosen greedily). So a span
    is preferred if many uncertain spans resemble it, and none chosen before does. Spans of one
    video do not overlap.

    Args:
        candidates: N spans of all videos, see :class:`CandidatePool`. Memory grows with N^2.
        count: maximum number of spans.
    """
    if not candidates:
        return []
    similarity = _similarities(np.stack([one.vector for one in candidates]))  # (N, N)
    doubt = np.sqrt([one.uncertainty for one in candidates]).astype(np.float32) + 1e-6
    covered = np.zeros(len(candidates), np.float32)
    free = np.ones(len(candidates), bool)
    chosen: list[Suggestion] = []
    while free.any() and len(chosen) < count:
        gain = np.maximum(similarity - covered, 0) @ doubt  # (N,)
        best = int(np.where(free, gain, -1).argmax())
        one = candidates[best]
        chosen.append(
            Suggestion(
                len(chosen) + 1,
                one.path,
                one.start,
                one.end,
                one.guess,
                one.score,
                one.uncertainty,
                1 - float(covered[best]),
            )
        )
        covered = np.maximum(covered, similarity[best])
        for number, other in enumerate(candidates):
            if other.path == one.path and other.start < one.end and one.start < other.end:
                free[number] = False
    return chosen


def _similarities(vectors: FloatArray) -> FloatArray:
    """Return the (N, N) similarities of vectors (N, D), 0 to 1.

    They fall with the squared distance of standardised vectors, to 2 % at the median distance.
    """
    values = (vectors - vectors.mean(0)) / np.maximum(vectors.std(0), 1e-6)
    lengths = np.square(values).sum(1)
    squares = values @ values.T
    squares *= -2
    squares += lengths[:, None]
    squares += lengths
    np.maximum(squares, 0, out=squares)
    squares *= -4 / max(float(np.median(squares)), 1e-9)
    similarities: FloatArray = np.exp(squares, out=squares)
    return similarities
