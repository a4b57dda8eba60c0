"""Metrics of surgical phases. Published numbers follow protocols that are not comparable
(Funke et al., "Metrics Matter in Surgical Phase Recognition", 2023), so the one used travels
with the numbers.

``strict``: no tolerance around transitions. In each video, precision, recall and Jaccard of
every phase that occurs in its truth; a precision of a phase never predicted is undefined and
left out, as MATLAB's nanmean leaves it out. Mean and standard deviation over videos for each
phase, then over phases; accuracy is the mean over videos. All values are percentages.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PROTOCOL = (
    "strict: per video and phase of its truth, no tolerance, undefined precisions left out, "
    "mean over videos, then over phases"
)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and (population) standard deviation; not a number where nothing was defined."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class PhaseScores:
    """Scores over videos.

    Attributes:
        accuracy: over videos.
        precision, recall, jaccard: over the means of the phases.
        per_phase: phase -> its (precision, recall, jaccard) over videos.
        protocol: how they were made, in words.
    """

    accuracy: Spread
    precision: Spread
    recall: Spread
    jaccard: Spread
    per_phase: Mapping[Hashable, tuple[Spread, Spread, Spread]]
    protocol: str = PROTOCOL


def phase_scores(
    videos: Sequence[tuple[Sequence[Hashable], Sequence[Hashable]]],
) -> PhaseScores:
    """Accuracy, precision, recall and Jaccard.

    Args:
        videos: for each the predicted and the true phase of its frames.

    Raises:
        ValueError: no video, one without frames, or different numbers of them.
    """
    if not videos:
        raise ValueError("no video to judge")
    accuracies: list[float] = []
    found: dict[Hashable, list[tuple[float, float, float]]] = {}
    for predicted, truth in videos:
        if len(predicted) != len(truth) or not len(truth):
            raise ValueError(f"{len(predicted)} predicted phases for {len(truth)} frames")
        names = {label: number for number, label in enumerate(dict.fromkeys((*predicted, *truth)))}
        have = np.array([names[label] for label in predicted])
        want = np.array([names[label] for label in truth])
        accuracies.append(100.0 * float((have == want).mean()))
        for phase in dict.fromkeys(truth):
            number = names[phase]
            both = float(((have == number) & (want == number)).sum())
            either = float(((have == number) | (want == number)).sum())
            said, real = float((have == number).sum()), float((want == number).sum())
            precision = 100 * both / said if said else np.nan
            found.setdefault(phase, []).append((precision, 100 * both / real, 100 * both / either))
    per_phase = {
        phase: _three(rows) for phase, rows in sorted(found.items(), key=lambda item: str(item[0]))
    }
    means = list(zip(*[[s.mean for s in spreads] for spreads in per_phase.values()], strict=True))
    return PhaseScores(
        accuracy=_spread(accuracies),
        precision=_spread(means[0]),
        recall=_spread(means[1]),
        jaccard=_spread(means[2]),
        per_phase=per_phase,
    )


def _three(rows: Sequence[tuple[float, float, float]]) -> tuple[Spread, Spread, Spread]:
    first, second, third = zip(*rows, strict=True)
    return _spread(first), _spread(second), _spread(third)


def _spread(values: Sequence[float]) -> Spread:
    known = np.array([value for value in values if value == value])
    if not len(known):
        return Spread(float("nan"), float("nan"))
    return Spread(float(known.mean()), float(known.std()))
