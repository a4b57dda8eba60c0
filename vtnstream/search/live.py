"""Labels on a stream: each frame is scored with what was seen up to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vtnstream.search.vectors import QueryVectors
from vtnstream.types import FloatArray, TokenTimes
from vtnstream.words.scoring import BACKGROUND_SHARE, WORD_FLOOR, Floor
from vtnstream.words.vectors import Project, check_sizes, unit

MATCH_TRACK = "match"


class LabelScores:
    """Scores of labels while a video arrives (a :class:`vtnstream.scoring.stream.StreamScores`).

    The floors of :mod:`vtnstream.words.scoring` come from the whole video; here they come from
    the frames so far, so that early scores rest on little. Scores are not smoothed. A token is
    final when the next one begins, because its end is not known before.

    Args:
        vectors: of the labels.
        project: from features to the space that is searched.
        names: of the scores, in the order of ``scores_of``.
        scores_of: from the evidence (n, K) of the labels to scores (n, len(names)).
    """

    track = MATCH_TRACK
    delay_tokens = 1

    def __init__(
        self,
        vectors: QueryVectors,
        project: Project,
        names: tuple[str, ...],
        scores_of: Callable[[FloatArray], FloatArray],
    ) -> None:
        self.labels = names
        self._vectors, self._project, self._scores_of = vectors, project, scores_of
        self._words = _LiveWords(vectors)
        self._examples = _LiveExamples(vectors)
        self._scores = np.empty((0, len(names)), np.float32)
        self._times = TokenTimes.empty()

    def push(self, values: FloatArray, times: TokenTimes) -> tuple[FloatArray, TokenTimes]:
        """Take features (T, D) of the next tokens; return the tokens that became final."""
        frames = unit(self._project(values))
        check_sizes(self._vectors.labels, frames.shape[1])
        words, examples = self._words.push(frames), self._examples.push(frames)
        has_words, has_examples = self._words.has, self._examples.has
        both = has_words & has_examples
        evidence = np.where(has_words, words, 0) + np.where(has_examples, examples, 0)
        evidence = np.where(both, evidence / 2, evidence).astype(np.float32)
        scores = np.concatenate([self._scores, self._scores_of(evidence)])
        whole = TokenTimes.concatenate([self._times, times])
        self._scores, self._times = scores[-1:], whole[-1:]
        return scores[:-1], whole[:-1]

    def pending(self) -> tuple[FloatArray, TokenTimes]:
        """Return the token that is not final, with its scores."""
        return self._scores, self._times


class _LiveWords:
    """Evidence for words: standard deviations above unrelated words, minus the floor so far.

    Attributes:
        has: (K,) whether each label has words.
    """

    def __init__(self, vectors: QueryVectors) -> None:
        texts = [label.text for label in vectors.labels]
        self.has = np.array([text is not None for text in texts])
        self._texts = np.stack([t for t in texts if t is not None]) if self.has.any() else None
        self._others = vectors.background
        self._best: FloatArray | None = None

    def push(self, frames: FloatArray) -> FloatArray:
        """Frames (n, E) to evidence (n, K); 0 where a label has no words."""
        evidence = np.zeros((len(frames), len(self.has)), np.float32)
        if self._texts is None or self._others is None:
            return evidence
        others = frames @ self._others.T
        mean, deviation = others.mean(axis=1), np.maximum(others.std(axis=1), 1e-6)
        others = (others - mean[:, None]) / deviation[:, None]
        if self._best is not None:
            others = np.concatenate([self._best[None], others])
        best = np.maximum.accumulate(others, axis=0)
        self._best = best[-1]
        floors = np.quantile(best[-len(frames) :], 1 - BACKGROUND_SHARE, axis=1)
        floors = np.maximum(floors, WORD_FLOOR)
        own = (frames @ self._texts.T - mean[:, None]) / deviation[:, None]
        evidence[:, self.has] = own - floors[:, None]
        return evidence


class _LiveExamples:
    """Evidence for examples: cosines over the floor that the frames so far set.

    Attributes:
        has: (K,) whether each label has examples.
    """

    def __init__(self, vectors: QueryVectors) -> None:
        shown = [label.examples for label in vectors.labels if len(label.examples)]
        self.has = np.array([len(label.examples) > 0 for label in vectors.labels])
        self._rows = np.concatenate(shown) if shown else None
        self._firsts = np.cumsum([0, *map(len, shown)])[:-1]
        self._total: np.ndarray | None = None
        self._last: FloatArray | None = None
        self._near, self._count = 0.0, 0

    def push(self, frames: FloatArray) -> FloatArray:
        """Frames (n, E) to evidence (n, K); 0 where a label has no examples."""
        evidence = np.zeros((len(frames), len(self.has)), np.float32)
        if self._rows is None:
            return evidence
        best = np.maximum.reduceat(frames @ self._rows.T, self._firsts, axis=1)
        for number, frame in enumerate(frames):
            floor = self._floor(frame)
            evidence[number, self.has] = (best[number] - floor.cosine) / floor.width
        return evidence

    def _floor(self, frame: FloatArray) -> Floor:
        """The floor after one more frame."""
        wide = frame.astype(np.float64)
        if self._last is not None:
            self._near += float(wide @ self._last)
        self._total = wide if self._total is None else self._total + wide
        self._last, self._count = frame, self._count + 1
        if self._count == 1:
            return Floor.between(1, None, None)
        pairs = self._count * (self._count - 1)
        far = (float(self._total @ self._total) - self._count) / pairs
        return Floor.between(self._count, self._near / (self._count - 1), far)
