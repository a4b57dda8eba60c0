"""Metrics of surgical phases with tolerance around transitions, as the M2CAI challenge's MATLAB
code computes them and TMRNet and its successors publish them (``Evaluate.m`` of TMRNet's
repository).

In the first 10 s of a phase, the previous phase counts as correct, and in its last 10 s the next
phase does. For phases 4 to 7 of Cholec80 the phase two positions away is accepted as well. These
numbers cannot be compared with strict ones. Two errors of that code are kept, because published
numbers contain them: the tolerance found in the last 10 s of a phase is applied to its first 10
s (a mask shorter than the array that it indexes), and values above 100 % are cut to 100 %.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from vtnstream.metrics.phases import PhaseScores, spread, spreads_of

PROTOCOL = (
    "relaxed (tmrnet-compat): 10 s of tolerance at transitions, as TMRNet's Evaluate.m counts, "
    "values above 100 cut to 100, mean over videos, then over phases"
)
CHOLEC80_PHASES = (
    "Preparation",
    "CalotTriangleDissection",
    "ClippingCutting",
    "GallbladderDissection",
    "GallbladderPackaging",
    "CleaningCoagulation",
    "GallbladderRetraction",
)
"""The phases in the order of their numbers, on which the tolerances depend."""

_TOLERANCE_SECONDS = 10
_NO_PHASE = 1000
_LATE = {6: (-1, -2), 7: (-1, -2)}
_EARLY = {4: (1, 2), 5: (1, 2), 6: (1, 2), 7: (1, 2)}
"""Phase -> differences from its number that are tolerated after its start (``_LATE``) and before
its end (``_EARLY``)."""

Numbers = NDArray[np.int64]


def relaxed_phase_scores(
    videos: Sequence[tuple[Sequence[Hashable], Sequence[Hashable]]],
    frames_per_second: float,
    phases: Sequence[Hashable] = CHOLEC80_PHASES,
) -> PhaseScores:
    """Return accuracy, precision, recall and Jaccard with 10 s of tolerance, in percent.

    Args:
        videos: the predicted and the true phase of each frame, for each video. Frames whose true
            label is not in ``phases`` are left out; a predicted label that is not is wrong.
        frames_per_second: rate of the frames.
        phases: in the order in which they follow each other.

    Raises:
        ValueError: the two sequences of a video differ in length, or no frame has a true phase.
    """
    places = {phase: number for number, phase in enumerate(phases, 1)}
    tolerance = round(_TOLERANCE_SECONDS * frames_per_second)
    accuracies: list[float] = []
    found: dict[Hashable, list[tuple[float, float, float]]] = {}
    for predicted, truth in videos:
        have, want = _numbered(predicted, truth, places)
        if not len(want):
            continue
        difference = _tolerated(have - want, want, tolerance)
        accuracies.append(100 * float((difference == 0).mean()))
        for number in np.unique(want):
            said, real = have == number, want == number
            right = float((difference[said | real] == 0).sum())
            either, num_said = float((said | real).sum()), float(said.sum())
            precision = 100 * right / num_said if num_said else (np.inf if right else np.nan)
            rows = found.setdefault(phases[int(number) - 1], [])
            rows.append((precision, 100 * right / float(real.sum()), 100 * right / either))
    if not accuracies:
        raise ValueError("no frame with a true phase to judge")
    cut = {
        phase: [(min(p, 100.0), min(r, 100.0), min(j, 100.0)) for p, r, j in rows]
        for phase, rows in found.items()
    }
    ordered = {phase: cut[phase] for phase in phases if phase in cut}
    per_phase = {phase: spreads_of(rows) for phase, rows in ordered.items()}
    means = list(zip(*[[s.mean for s in three] for three in per_phase.values()], strict=True))
    return PhaseScores(
        accuracy=spread(accuracies),
        precision=spread(means[0]),
        recall=spread(means[1]),
        jaccard=spread(means[2]),
        per_phase=per_phase,
        protocol=PROTOCOL,
    )


def _numbered(
    predicted: Sequence[Hashable], truth: Sequence[Hashable], places: dict[Hashable, int]
) -> tuple[Numbers, Numbers]:
    """Return the (T,) numbers, from 1, of the predicted and true phases, for frames with a true
    one."""
    if len(predicted) != len(truth):
        raise ValueError(f"{len(predicted)} predicted phases for {len(truth)} frames")
    want = np.array([places.get(label, 0) for label in truth], np.int64)
    have = np.array([places.get(label, _NO_PHASE) for label in predicted], np.int64)
    return have[want > 0], want[want > 0]


def _tolerated(difference: Numbers, want: Numbers, tolerance: int) -> Numbers:
    """Return the (T,) difference of predicted and true number, set to 0 where it is tolerated."""
    found = difference.copy()
    edges = np.flatnonzero(np.diff(want)) + 1
    for first, stop in zip([0, *edges], [*edges, len(want)], strict=True):
        number, part = int(want[first]), found[first:stop]
        near = min(tolerance, len(part))
        late = np.isin(part[:near], _LATE.get(number, (-1,)))
        part[:near][late] = 0
        early = np.isin(part[len(part) - near :], _EARLY.get(number, (1,)))
        part[:near][early] = 0
    return found
