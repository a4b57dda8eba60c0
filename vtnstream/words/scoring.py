"""Frames against the vectors of labels: evidence over time.

Two questions are kept apart. *Is it shown at all?* is judged on plain cosines, against a floor
that the video's own frames set. *Where does it stand out?* is judged on vectors without the
video's mean, which is what all of its frames share. Scores that are only scaled to the highest
and lowest of a video always find something, so they are used for neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtnstream.localization.peaks import Evidence
from vtnstream.types import FeatureSequence, FloatArray
from vtnstream.words.vectors import (
    FrameStatistics,
    LabelVectors,
    Project,
    check_sizes,
    identity,
    unit,
    unit_blocks,
)

NEAR, FAR = 0.9, 0.6
"""Cosines of neighbouring and of unrelated frames where a video is too short to tell: about
those of a convolutional network trained on ImageNet."""

EXAMPLE_FLOOR = 0.6
"""Where between unrelated (0) and neighbouring frames (1) an example counts as shown."""

NARROWEST = 0.02
"""Least difference of ``near`` and ``far``: beneath it cosines tell noise."""

_SURE = 3.0
"""Evidence of an example that is as similar to a frame as that frame's neighbours are."""

CENTRED_TOKENS = 20
CENTRED_SPREAD = 0.04
"""A video is centred if it has so many frames and they differ so much (near minus far):
taking the mean off a single scene would take off what it shows."""


@dataclass(frozen=True, slots=True)
class Floor:
    """From the cosine with an example to evidence.

    Attributes:
        cosine: at which evidence is 0.
        width: cosine by which evidence grows by 1.
    """

    cosine: float
    width: float

    @classmethod
    def of(cls, statistics: FrameStatistics) -> Floor:
        """The floor that a video's own frames set."""
        near = NEAR if statistics.near is None else statistics.near
        far = FAR if statistics.far is None else statistics.far
        spread = max(near - far, NARROWEST)
        return cls(near - (1 - EXAMPLE_FLOOR) * spread, (1 - EXAMPLE_FLOOR) * spread / _SURE)


def is_centred(statistics: FrameStatistics) -> bool:
    """Whether the mean of a video is taken off before places are compared."""
    if statistics.near is None or statistics.far is None:
        return False
    spread = statistics.near - statistics.far
    return statistics.count >= CENTRED_TOKENS and spread >= CENTRED_SPREAD


def score_examples(
    features: FeatureSequence, labels: Sequence[LabelVectors], project: Project = identity
) -> list[Evidence]:
    """Evidence for labels that have examples, in two passes over the features.

    Args:
        features: T tokens of a backbone.
        labels: K labels, each with at least one example in the projected space.
        project: from features to that space.

    Returns:
        For each label the best of its examples at each token. Memory: 8 T K bytes.

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
    presence = np.empty((len(labels), count), np.float32)
    shape = np.empty_like(presence)
    start = 0
    for block in unit_blocks(features, project):
        stop = start + len(block)
        plain = np.maximum.reduceat(block @ rows.T, firsts, axis=1)
        presence[:, start:stop] = ((plain - floor.cosine) / floor.width).T
        if centre is not None:
            plain = np.maximum.reduceat(unit(block - centre) @ away.T, firsts, axis=1)
        shape[:, start:stop] = plain.T
        start = stop
    return [Evidence(p, s, features.times) for p, s in zip(presence, shape, strict=True)]


def curve_scores(evidence: Sequence[Evidence]) -> FloatArray:
    """Matches of K labels at N tokens as (N, K) float32, for curves."""
    from vtnstream.localization.peaks import match_of

    return np.stack([match_of(one.presence) for one in evidence], axis=1)
