"""Confidence in the events of a timeline: what the network says, held against how the frames
change (:mod:`vtnstream.localization.view_changes`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import EventsConfig, TimelineConfig
from vtnstream.localization.runs import Run
from vtnstream.localization.view_changes import ViewChanges
from vtnstream.types import FloatArray, IndexArray

BLACK = "black"
CONFIDENT = 0.5
"""Probability below which a frame is neither black nor frozen but a part of its shot."""
DARK = 34.0
"""Brightest place, of 255, of a frame that may be called black: video black is 16, and
compression adds some."""
PITCH_DARK = 8.0
"""Brightest place of a frame that is black whatever the network says."""
STILL = 0.1
"""Largest difference from the frame before, of 255, within a freeze."""
SAME_VIEW = 2.0
"""Smaller differences that last, of 255, are no cut."""
LOGIT_RANGE = 8.0
"""Change of both thresholds' logits from sensitivity 0 to 1."""
_EDGE = 2
"""Frames at the ends of a run that lack what they would be compared with."""
_NEAR = 1
"""Frames by which the network may place a cut beside the largest change."""
_LOWEST, _HIGHEST = 0.005, 0.995
_RANGES = ((0.5, 8.0), (0.25, 6.0), (2.0, 25.0), (1.0, 20.0))
"""Of ratio, standout, content and lasting: what lies beyond says no more."""


def evidence_of(scores: FloatArray, changes: ViewChanges) -> FloatArray:
    """(T, 5) what speaks for a cut at each frame: the logit of the network's score and the
    logarithms of ratio, standout, content and lasting change.

    Args:
        scores: (T,) the network's probability of a cut.
        changes: of the same frames.
    """
    near = scores.copy()
    for lag in range(1, _NEAR + 1):
        near[lag:] = np.maximum(near[lag:], scores[:-lag])
        near[:-lag] = np.maximum(near[:-lag], scores[lag:])
    near = near.clip(_LOWEST, _HIGHEST)
    measured = (changes.ratio, changes.standout, changes.content, changes.lasting)
    columns = [np.log(near / (1 - near))]
    columns += [
        np.log(np.clip(values, *limits)) for values, limits in zip(measured, _RANGES, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def moment_scores(
    scores: FloatArray, changes: ViewChanges | None, events: EventsConfig
) -> FloatArray:
    """(T,) confidence that a shot begins at each frame.

    Args:
        scores: (T,) the network's probability.
        changes: of the same frames; None where none were measured.
        events: whose ``evidence`` weighs them.
    """
    if changes is None or not events.evidence:
        return scores
    weights = np.asarray(events.evidence, np.float32)
    logits = weights[0] + evidence_of(scores, changes) @ weights[1:]
    confidence = 1 / (1 + np.exp(-logits.clip(-60, 60)))
    confidence[changes.lasting < SAME_VIEW] = 0
    confidence[:_EDGE] = 0
    confidence[-_EDGE:] = 0
    return np.asarray(confidence, np.float32)


def are_transitions(
    together: IndexArray,
    scores: FloatArray,
    changes: ViewChanges | None,
    events: EventsConfig,
    options: TimelineConfig,
) -> IndexArray:
    """Of stretches ``[first, stop)`` (M, 2) those that are gradual transitions: the network is
    sure of them, and they lead from one view to another through a mixture of both.

    Args:
        together: stretches above the lower threshold.
        scores: (T,) summed probability of all kinds of transition.
        changes: of the frames, if they were measured.
        events: limits.
        options: shift or replace the limits of the scores.
    """
    limits = thresholds(events, options)

    def holds(first: int, stop: int) -> bool:
        inside = scores[first:stop]
        if inside.max() < np.float32(limits.peak) or inside.mean() < np.float32(limits.mean):
            return False
        if changes is None:
            return True
        changed = changes.between(first, stop) >= events.view_change
        return changed and changes.foreign(first, stop) <= events.foreign

    kept = [holds(int(first), int(stop)) for first, stop in together]
    return np.asarray(together[np.asarray(kept, bool)], np.int64)


def checked_scores(
    run: Run, names: list[str], events: EventsConfig, changes: ViewChanges | None
) -> FloatArray:
    """(T, K) scores in which no bright frame is black, no moving one is frozen, and both are sure;
    without measured changes those of the run."""
    if changes is None:
        return run.scores
    scores = run.scores.copy()
    for label in (BLACK, *events.held):
        if label in names:
            column = scores[:, names.index(label)]
            column[column < CONFIDENT] = 0
    if BLACK in names:
        black = scores[:, names.index(BLACK)]
        black[changes.brightest > DARK] = 0
        black[changes.brightest <= PITCH_DARK] = 1
    for label in events.held:
        scores[changes.step > STILL, names.index(label)] = 0
    return scores


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Levels of the scores: of a moment, and of a gradual transition those of its extent, its
    highest and its mean score."""

    moment: float
    extent: float
    peak: float
    mean: float


def thresholds(events: EventsConfig, options: TimelineConfig) -> Thresholds:
    """The levels of a model, as the options shift or replace them. The extent of a transition
    never shrinks with a higher level: fewer are found, and none is cut in two."""
    extent = events.joined_threshold
    if options.threshold is not None:
        level = options.threshold
        return Thresholds(level, min(extent, level), level, 0.0)
    peak = max(events.joined_peak, extent)
    if options.sensitivity is None:
        return Thresholds(events.moment_threshold, extent, peak, events.joined_mean)
    shift = LOGIT_RANGE * (0.5 - options.sensitivity)
    peak, mean = _shifted(peak, shift), _shifted(events.joined_mean, shift)
    extent = min(extent, _shifted(extent, shift))
    return Thresholds(_shifted(events.moment_threshold, shift), extent, peak, mean)


def _shifted(probability: float, shift: float) -> float:
    odds = probability / max(1 - probability, 1e-6) * float(np.exp(shift))
    return odds / (1 + odds)


def frames_for(count: int, times: NDArray[np.float64], events: EventsConfig, least: int) -> int:
    """``count`` frames at ``events.fps`` as frames of a run whose tokens lie at ``times``."""
    if not events.fps or len(times) < 2:
        return count
    usual = float(np.median(np.diff(times)))
    return max(least, round(count / (events.fps * max(usual, 1e-4))))
