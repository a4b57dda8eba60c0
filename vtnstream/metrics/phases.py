"""Metrics of surgical phases under the strict protocol.

Published numbers follow protocols that are not comparable (Funke et al., "Metrics Matter in
Surgical Phase Recognition", 2023), so results name their protocol.

``strict`` allows no tolerance around transitions. For each video, precision, recall and Jaccard
are computed for every phase that occurs in its truth. The precision of a phase that is never
predicted is undefined and left out, as by MATLAB's nanmean. Mean and standard deviation are
taken over videos for each phase, then over phases; accuracy is the mean over videos. All values
are percentages. Deviations are given both as numpy's (population) and as MATLAB's (sample). The
relaxed protocol is in :mod:`vtnstream.metrics.relaxed_phases`.
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
    """Mean and standard deviation; NaN where no value was defined.

    Attributes:
        mean: mean of the defined values.
        deviation: of the population (divided by n).
        sample_deviation: of a sample (divided by n - 1), as MATLAB's ``std``; 0 for one value.
    """

    mean: float
    deviation: float
    sample_deviation: float = float("nan")


@dataclass(frozen=True, slots=True)
class PhaseScores:
    """Scores over videos, in percent.

    Attributes:
        accuracy: over videos.
        precision, recall, jaccard: over the means of the phases.
        per_phase: phase -> its (precision, recall, jaccard) over videos.
        protocol: description of the protocol.
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
    """Return accuracy, precision, recall and Jaccard under the strict protocol.

    Args:
        videos: the predicted and the true phase of each frame, for each video.

    Raises:
        ValueError: there is no video, a video has no frames, or its two sequences differ in length.
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
    """Return the spreads over videos of precision, recall and Jaccard of one phase."""
    first, second, third = zip(*rows, strict=True)
    return spread(first), spread(second), spread(third)


def spread(values: Sequence[float]) -> Spread:
    """Return mean and deviations of the values that are not NaN."""
    known = np.array([value for value in values if value == value])
    if not len(known):
        return Spread(float("nan"), float("nan"))
    sample = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return Spread(float(known.mean()), float(known.std()), sample)
