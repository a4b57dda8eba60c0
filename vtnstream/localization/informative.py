"""Choose the spans of videos whose labels would improve a model most.

These are spans with uncertain scores that differ from the spans chosen before.
"""

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
        novelty: distance to the nearest span chosen before, relative to the usual distance of
            spans; at most 1.
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


def choose_spans(candidates: Sequence[Candidate], count: int) -> list[Suggestion]:
    """Return the ``count`` most informative spans.

    Each has the highest uncertainty x novelty after those chosen before. Spans of one video do
    not overlap.

    Args:
        candidates: spans of all videos.
        count: maximum number of spans.
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
    """Return the root mean square distance between two of the vectors (N, D)."""
    return max(float(np.sqrt(2 * vectors.var(0).sum())), 1e-9)
