"""Metrics of surgical phases. Published numbers follow protocols that are not comparable
(Funke et al., "Metrics Matter in Surgical Phase Recognition", 2023), so the one used travels
with the numbers.

``strict``: no tolerance around transitions. In each video, precision, recall and Jaccard of
every phase that occurs in its truth; a precision of a phase never predicted is undefined and
left out, as MATLAB's nanmean leaves it out. Mean and standard deviation over videos for each
phase, then over phases; accuracy is the mean over videos. All values are percentages. Deviations
are given both ways: numpy's (population) and MATLAB's (sample). The relaxed protocol is in
:mod:`vtnstream.metrics.relaxed_phases`.
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
    """Mean and standard deviation; not a number where nothing was defined.

    Attributes:
        mean: of the defined values.
        deviation: of the population (divided by n).
        sample_deviation: of a sample (divided by n - 1), as MATLAB's ``std``; 0 for one value.
    """

    mean: float
    deviation: float
    sample_deviation: float = float("nan")


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
        phase: spreads_of(rows)
        for phase, rows in sorted(found.items(), key=lambda item: str(item[0]))
    }
    means = list(zip(*[[s.mean for s in spreads] for spreads in per_phase.values()], strict=True))
    return PhaseScores(
        accuracy=spread(accuracies),
        precision=spread(means[0]),
        recall=spread(means[1]),
        jaccard=spread(means[2]),
        per_phase=per_phase,
    )


def spreads_of(rows: Sequence[tuple[float, float, float]]) -> tuple[Spread, Spread, Spread]:
    """Precision, recall and Jaccard of one phase over videos."""
    first, second, third = zip(*rows, strict=True)
    return spread(first), spread(second), spread(third)


def spread(values: Sequence[float]) -> Spread:
    """Mean and deviations of the values that are numbers."""
    known = np.array([value for value in values if value == value])
    if not len(known):
        return Spread(float("nan"), float("nan"))
    sample = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return Spread(float(known.mean()), float(known.std()), sample)
