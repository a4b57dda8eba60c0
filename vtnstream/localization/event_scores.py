"""Compute the confidence of cuts, transitions, black and frozen frames.

The scores of the network are combined with the measured changes between frames
(:mod:`vtnstream.localization.view_changes`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import EventsConfig, TimelineConfig
from vtnstream.localization.runs import Run
from vtnstream.localization.view_changes import ViewChanges
from vtnstream.types import FloatArray, IndexArray

BLACK = "black"
_CONFIDENT = 0.5
"""Probability below which a frame is neither black nor frozen but belongs to its shot."""
_DARK = 34.0
"""Brightest value, of 255, of a frame that may be black: 16 of video black, plus noise."""
_PITCH_DARK = 8.0
"""Brightest value, of 255, of a frame that is black regardless of its score."""
_STILL = 0.1
"""Largest difference, of 255, from the previous frame within a freeze."""
_SAME_VIEW = 2.0
"""Lasting difference, of 255, below which there is no cut."""
_LOGIT_RANGE = 8.0
"""Shift of the thresholds' logits between sensitivity 0 and 1."""
_EDGE = 2
"""Number of frames at both ends of a run that lack neighbours for a comparison."""
_NEAR = 1
"""Maximum distance, in frames, between the network's cut and the largest change."""
_LOWEST, _HIGHEST = 0.005, 0.995
_RANGES = ((0.5, 8.0), (0.25, 6.0), (1.0, 20.0), (1.0, 20.0), (0.1, 1.0), (0.02, 1.0))
"""Ranges to which ratio, standout, change, lasting, spread and 1 - likeness are clipped."""


def evidence_of(scores: FloatArray, changes: ViewChanges) -> FloatArray:
    """Return the (T, 7) float32 evidence for a cut at each frame.

    The columns are the logit of the network's score and the logarithms of ratio, standout,
    change and lasting change, of its spread over the frame, and of how unlike the frames on both
    sides are.

    Args:
        scores: (T,) probability of a cut.
        changes: measured changes of the same frames.
    """
    near = scores.copy()
    for lag in range(1, _NEAR + 1):
        near[lag:] = np.maximum(near[lag:], scores[:-lag])
        near[:-lag] = np.maximum(near[:-lag], scores[lag:])
    near = near.clip(_LOWEST, _HIGHEST)
    measured = (
        *(changes.ratio, changes.standout, changes.change, changes.lasting),
        *(changes.spread, 1 - changes.likeness),
    )
    columns = [np.log(near / (1 - near))]
    columns += [
        np.log(np.clip(values, *limits)) for values, limits in zip(measured, _RANGES, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def moment_scores(
    scores: FloatArray, changes: ViewChanges | None, events: EventsConfig
) -> FloatArray:
    """Return the (T,) confidence that a shot begins at each frame.

    Args:
        scores: (T,) probability of the network.
        changes: measured changes of the same frames, or None; the result is then ``scores``.
        events: configuration with the weights of the evidence.
    """
    if changes is None or not events.evidence:
        return scores
    weights = np.asarray(events.evidence, np.float32)
    logits = weights[0] + evidence_of(scores, changes) @ weights[1:]
    confidence = 1 / (1 + np.exp(-logits.clip(-60, 60)))
    confidence[changes.lasting < _SAME_VIEW] = 0
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
    """Return the candidates that are gradual transitions.

    Their scores reach the thresholds; the views before and after differ; and the frames between
    are a mixture of both.

    Args:
        together: (M, 2) candidates ``[first, stop)`` above the lower threshold.
        scores: (T,) summed probability of all kinds of transition.
        changes: measured changes of the frames, or None.
        events: limits.
        options: options that shift or replace the thresholds.
    """
    limits = thresholds(events, options)

    def holds(first: int, stop: int) -> bool:
        inside = scores[first:stop]
        if inside.max() < np.float32(limits.peak) or inside.mean() < np.float32(limits.mean):
            return False
        if changes is None:
            return True
        changed = changes.between(first, stop) >= events.view_change
        return changed and changes.added_colors(first, stop) <= events.added_colors

    kept = [holds(int(first), int(stop)) for first, stop in together]
    return np.asarray(together[np.asarray(kept, bool)], np.int64)


def checked_scores(
    run: Run, names: list[str], events: EventsConfig, changes: ViewChanges | None
) -> FloatArray:
    """Return (T, K) scores that agree with the measured changes.

    A bright frame is never black and a very dark one always is; a frame that moves is never
    frozen; uncertain scores of both labels are 0. Without measured changes the scores of the run
    are returned.
    """
    if changes is None:
        return run.scores
    scores = run.scores.copy()
    for label in (BLACK, *events.held):
        if label in names:
            column = scores[:, names.index(label)]
            column[column < _CONFIDENT] = 0
    if BLACK in names:
        black = scores[:, names.index(BLACK)]
        black[changes.brightest > _DARK] = 0
        black[changes.brightest <= _PITCH_DARK] = 1
    for label in events.held:
        scores[changes.step > _STILL, names.index(label)] = 0
    return scores


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Thresholds of the scores.

    Attributes:
        moment: confidence of a cut.
        extent: score that every frame of a gradual transition reaches.
        peak: highest score of a gradual transition.
        mean: mean score of a gradual transition.
    """

    moment: float
    extent: float
    peak: float
    mean: float


def thresholds(events: EventsConfig, options: TimelineConfig) -> Thresholds:
    """Return a model's thresholds, as the options shift or replace them.

    The threshold of a transition's extent is never raised: a stricter level finds fewer
    transitions but divides none.
    """
    extent = events.joined_threshold
    if options.threshold is not None:
        level = options.threshold
        return Thresholds(level, min(extent, level), level, 0.0)
    peak = max(events.joined_peak, extent)
    if options.sensitivity is None:
        return Thresholds(events.moment_threshold, extent, peak, events.joined_mean)
    shift = _LOGIT_RANGE * (0.5 - options.sensitivity)
    peak, mean = _shifted(peak, shift), _shifted(events.joined_mean, shift)
    extent = min(extent, _shifted(extent, shift))
    return Thresholds(_shifted(events.moment_threshold, shift), extent, peak, mean)


def _shifted(probability: float, shift: float) -> float:
    odds = probability / max(1 - probability, 1e-6) * float(np.exp(shift))
    return odds / (1 + odds)


def frames_for(count: int, times: NDArray[np.float64], events: EventsConfig, least: int) -> int:
    """Convert ``count`` frames at ``events.fps`` to a number of tokens at ``times``, at least
    ``least``.

    Without ``events.fps`` the result is ``count``.
    """
    if not events.fps or len(times) < 2:
        return count
    usual = float(np.median(np.diff(times)))
    return max(least, round(count / (events.fps * max(usual, 1e-4))))
