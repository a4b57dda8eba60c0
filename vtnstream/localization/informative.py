"""Choose the spans of videos whose label would teach a model most: where its scores are undecided,
and that look unlike what was chosen before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtnstream.localization.runs import split_runs
from vtnstream.types import FloatArray, ScoreTimeline


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A span that could be labelled.

    Attributes:
        path: of the video.
        start: seconds.
        end: seconds.
        guess: the label with the highest mean score.
        score: that mean score.
        uncertainty: 0 where each token has one certain label, 1 where all labels are equal.
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
        rank: 1 teaches most.
        path: of the video.
        start: seconds.
        end: seconds.
        guess: the label with the highest mean score, to be corrected.
        score: that mean score.
        uncertainty: as in :class:`Candidate`.
        novelty: 0 where the span looks like one chosen before, 1 where it is as far from all of
            them as spans usually are from each other, or farther.
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
    """Spans of a video, each half a span after the one before; none crosses a gap.

    Args:
        path: of the video.
        timeline: scores of N tokens.
        features: (N, D) of the same tokens.
        length: seconds of a span. A shorter run of tokens is one span.
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
    """First tokens of spans of ``size`` that cover ``count`` tokens."""
    last = count - size
    return sorted({*range(0, last + 1, max(size // 2, 1)), last})


def uncertainty(scores: FloatArray, multi_label: bool) -> FloatArray:
    """How undecided scores are: (N, K) -> (N,), the entropy of each row as a share of the highest
    one, or with ``multi_label`` the mean over the labels of that of each score.
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


def choose_spans(candidates: Sequence[Candidate], count: int) -> list[Suggestion]:
    """The best ``count`` spans, each the one with the highest uncertainty x novelty after those
    chosen before; spans of one video do not overlap.

    Args:
        candidates: of all videos.
        count: at most so many.
    """
    if not candidates:
        return []
    vectors = np.stack([one.vector for one in candidates]).astype(np.float64)  # (N, D)
    vectors = (vectors - vectors.mean(0)) / np.maximum(vectors.std(0), 1e-6)
    doubt = np.array([one.uncertainty for one in candidates])
    usual = _usual_distance(vectors)
    nearest = np.full(len(candidates), np.inf)
    free = np.ones(len(candidates), bool)
    chosen: list[Suggestion] = []
    while free.any() and len(chosen) < count:
        novelty = np.minimum(nearest / usual, 1.0)
        value = np.where(free, (doubt + 1e-6) * novelty, -1.0)
        best = int(value.argmax())
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
                float(novelty[best]),
            )
        )
        nearest = np.minimum(nearest, np.sqrt(((vectors - vectors[best]) ** 2).sum(1)))
        for number, other in enumerate(candidates):
            if other.path == one.path and other.start < one.end and one.start < other.end:
                free[number] = False
    return chosen


def _usual_distance(vectors: np.ndarray) -> float:
    """Root mean square distance of two of the vectors (N, D)."""
    return max(float(np.sqrt(2 * vectors.var(0).sum())), 1e-9)
