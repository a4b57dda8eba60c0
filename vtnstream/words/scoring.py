"""Scores of frames against the vectors of labels: evidence over time.

Two questions are answered separately. Whether a label is shown at all is decided by plain
cosines against a floor: for examples the floor follows from the video's own frames, for words
from unrelated words. Where it is shown best is decided, for examples, on vectors from which the
video's mean was subtracted, which is what all of its frames have in common. Scores scaled to the
minimum and maximum of a video always find something, so they are not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtnstream.localization.peaks import Evidence, smoothing_size
from vtnstream.localization.smoothing import gaussian
from vtnstream.types import FeatureSequence, FloatArray, IndexArray
from vtnstream.words.similarity import example_similarities
from vtnstream.words.vectors import (
    FrameStatistics,
    LabelVectors,
    Project,
    check_sizes,
    check_space,
    identity,
    unit,
    unit_blocks,
)

NEAR, FAR, PRIOR_FRAMES = 0.9, 0.6, 10
"""Cosines of neighbouring and of unrelated frames where a video is too short to tell, about those
of a convolutional network trained on ImageNet, and the number of frames that they count for.
Without them the floors of short videos are noise: over 200 clips of two seconds the mean average
precision of clips of the same scene was .835 instead of .975."""

EXAMPLE_FLOOR = 0.6
"""Where between unrelated (0) and neighbouring frames (1) an example counts as shown. With it, and
a MobileNetV2, one of 5,978 spans was answered in an unrelated video, and 96 % of 85 spans were
found in another encoding of their own."""

NARROWEST = 0.02
"""Least difference of ``near`` and ``far``: beneath it cosines tell noise."""

_SURE = 3.0
"""Evidence of an example that is as similar to a frame as that frame's neighbours are."""

WORD_FLOOR = 4.0
"""Standard deviations above the mean of unrelated words at which a word counts as shown.
With it 82 % of 34 words that clips show were found and 1.1 % of 1,690 absent ones answered
(``python -m benchmarks words --closed``)."""

BACKGROUND_SHARE = 0.02
"""A word must also do better than all but this share of the unrelated words, each at its best
moment of the video."""

MOST_KEPT = 64
"""Labels whose scores are kept over all of a video: those with the highest peaks. Memory then
grows with neither the number of labels nor much with the video's length."""

_LABELS_AT_ONCE = 1024
"""Labels scored at a time: memory does not grow with their number."""

CENTRED_TOKENS = 20
CENTRED_SPREAD = 0.04
"""A video is centred if it has so many frames and they differ so much (near minus far):
taking the mean off a single scene would take off what it shows."""


@dataclass(frozen=True, slots=True)
class Floor:
    """Conversion of the cosine with an example to evidence.

    Attributes:
        cosine: cosine of evidence 0.
        width: increase of the cosine for an increase of evidence by 1.
    """

    cosine: float
    width: float

    @classmethod
    def of(cls, statistics: FrameStatistics) -> Floor:
        """Return the floor that follows from a video's own frames."""
        return cls.between(statistics.count, statistics.near, statistics.far)

    @classmethod
    def between(cls, count: int, near: float | None, far: float | None) -> Floor:
        """The floor between the cosines of neighbouring and of any two of ``count`` frames; None
        for a single one."""
        weight = 0 if near is None or far is None else count
        total = weight + PRIOR_FRAMES
        usual = (weight * (near or 0) + PRIOR_FRAMES * NEAR) / total
        lowest = (weight * (far or 0) + PRIOR_FRAMES * FAR) / total
        spread = max(usual - lowest, NARROWEST)
        return cls(usual - (1 - EXAMPLE_FLOOR) * spread, (1 - EXAMPLE_FLOOR) * spread / _SURE)


def is_centred(statistics: FrameStatistics) -> bool:
    """Return whether the mean of a video is subtracted before positions are compared."""
    if statistics.near is None or statistics.far is None:
        return False
    spread = statistics.near - statistics.far
    return statistics.count >= CENTRED_TOKENS and spread >= CENTRED_SPREAD


@dataclass(frozen=True, slots=True, eq=False)
class ExampleScores:
    """Examples against a video.

    Attributes:
        evidence: for each of K labels.
        similarity: (K,) of the video to each label's nearest example, to order videos by.
    """

    evidence: tuple[Evidence, ...]
    similarity: FloatArray


def score_examples(
    features: FeatureSequence, labels: Sequence[LabelVectors], project: Project = identity
) -> ExampleScores:
    """Evidence for labels that have examples, in three passes over the features.

    Args:
        features: T tokens of a backbone.
        labels: K labels, each with at least one example in the projected space.
        project: from features to that space.

    Returns:
        For each label the best of its R examples at each token. Memory: 4 T (2 K + R) bytes.

    Raises:
        FeatureError: vectors of another space than the features.
    """
    statistics = FrameStatistics.of(unit_blocks(features, project))
    check_sizes(labels, len(statistics.mean))
    floor, centre = Floor.of(statistics), statistics.mean if is_centred(statistics) else None
    rows = np.concatenate([label.examples for label in labels])
    firsts = np.cumsum([0, *(len(label.examples) for label in labels)])[:-1]
    away = rows if centre is None else unit(rows - centre)
    count = len(features.times)
    cosines = np.empty((len(rows), count), np.float32)
    shape = np.empty((len(labels), count), np.float32)
    start = 0
    for block in unit_blocks(features, project):
        stop = start + len(block)
        cosines[:, start:stop] = rows @ block.T
        if centre is not None:
            away_cosines = away @ unit(block - centre).T
            shape[:, start:stop] = np.maximum.reduceat(away_cosines, firsts, axis=0)
        start = stop
    presence = np.maximum.reduceat(cosines, firsts, axis=0)
    if centre is None:
        shape = presence.copy()
    presence -= np.float32(floor.cosine)
    presence /= np.float32(floor.width)
    seconds = np.concatenate([label.seconds for label in labels])
    similarity = example_similarities(features, cosines, rows, seconds, floor.cosine, project)
    evidence = tuple(Evidence(p, s, features.times) for p, s in zip(presence, shape, strict=True))
    return ExampleScores(evidence, np.maximum.reduceat(similarity, firsts))


@dataclass(frozen=True, slots=True, eq=False)
class WordScores:
    """Words against a video.

    Attributes:
        evidence: for each of K labels, or None for one that stays below the floor throughout and
            is not among the :data:`MOST_KEPT` best.
        peaks: (K,) float32 highest evidence of each before smoothing.
        at: (K,) index of the token where it is reached.
    """

    evidence: tuple[Evidence | None, ...]
    peaks: FloatArray
    at: IndexArray


def score_words(
    features: FeatureSequence,
    texts: FloatArray,
    background: FloatArray,
    project: Project = identity,
    *,
    smoothing_seconds: float = 0.0,
) -> WordScores:
    """Evidence for words: how many standard deviations a word's cosine stands above those of
    unrelated words at the same frame, minus the floor.

    Args:
        features: T tokens of the image tower.
        texts: (K, E) unit vectors of the labels.
        background: (B, E) unit vectors of unrelated words.
        project: from features to the shared space.
        smoothing_seconds: as the search smooths; the floor is taken from smoothed scores too.

    Returns:
        Two passes over the features if there are more than :data:`MOST_KEPT` labels, else
        one. Memory: 4 T min(K, 64) bytes and blocks of frames and labels.

    Raises:
        FeatureError: vectors of another space than the features.
    """
    count, size = len(features.times), smoothing_size(features.times, smoothing_seconds)
    many = len(texts) > MOST_KEPT
    scores = np.empty((0 if many else len(texts), count), np.float32)
    peaks = np.full(len(texts), -np.inf, np.float32)
    at = np.zeros(len(texts), np.int64)
    best = np.full(len(background), -np.inf, np.float32)
    start = 0
    for block in unit_blocks(features, project):
        check_space(texts, block.shape[1])
        scale = _Scale.of(block, background)
        smoothed = np.empty_like(scale.others)
        gaussian(scale.others, size, smoothed)
        best = np.maximum(best, smoothed.max(axis=0))
        for first in range(0, len(texts), _LABELS_AT_ONCE):
            part = slice(first, first + _LABELS_AT_ONCE)
            own = scale.standard_scores(texts[part])
            places = own.argmax(axis=1)
            highest = own[np.arange(len(own)), places]
            better = highest > peaks[part]
            peaks[part][better], at[part][better] = highest[better], places[better] + start
            if not many:
                scores[part, start : start + len(block)] = own
        start += len(block)
    floor = np.float32(max(WORD_FLOOR, float(np.quantile(best, 1 - BACKGROUND_SHARE))))
    kept = np.arange(len(texts))
    if many:
        kept = np.sort(np.argsort(-peaks, kind="stable")[:MOST_KEPT])
        scores = _scores_of(features, texts[kept], background, project)
    scores -= floor
    evidence: list[Evidence | None] = [None] * len(texts)
    for number, row in zip(kept, scores, strict=True):
        evidence[number] = Evidence(row, row, features.times)
    return WordScores(tuple(evidence), peaks - floor, at)


def _scores_of(
    features: FeatureSequence, texts: FloatArray, background: FloatArray, project: Project
) -> FloatArray:
    """Standard scores (K, T) of a few words over all of a video."""
    scores = np.empty((len(texts), len(features.times)), np.float32)
    start = 0
    for block in unit_blocks(features, project):
        own = _Scale.of(block, background).standard_scores(texts)
        scores[:, start : start + len(block)] = own
        start += len(block)
    return scores


@dataclass(frozen=True, slots=True, eq=False)
class _Scale:
    """What turns the cosines of frames into standard scores.

    Attributes:
        others: (n, B) cosines of unrelated words in standard deviations above their mean at each
            frame.
        frames: (n, E) frames over the standard deviation of each.
        shift: (n,) mean of the unrelated words, over the standard deviation.
    """

    others: FloatArray
    frames: FloatArray
    shift: FloatArray

    @classmethod
    def of(cls, block: FloatArray, background: FloatArray) -> _Scale:
        others = block @ background.T
        mean, deviation = others.mean(axis=1), np.maximum(others.std(axis=1), 1e-6)
        others -= mean[:, None]
        others /= deviation[:, None]
        return cls(others, block / deviation[:, None], mean / deviation)

    def standard_scores(self, texts: FloatArray) -> FloatArray:
        """Cosines of words (K, E) with the frames, as standard scores (K, n): one product, which
        the scaled frames make right."""
        scores: FloatArray = texts @ self.frames.T
        scores -= self.shift
        return scores


def joined(words: Evidence | None, example: Evidence | None) -> Evidence | None:
    """Return the evidence of a label that has words and examples: the mean of both."""
    if words is None or example is None:
        return words or example
    return Evidence(
        np.asarray((words.presence + example.presence) / 2, np.float32),
        np.asarray((words.shape + example.shape) / 2, np.float32),
        words.times,
    )
