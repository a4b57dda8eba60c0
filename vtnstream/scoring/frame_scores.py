"""Collect the numbers by which a timeline was cut, one row per token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vtnstream.config import EventsConfig
from vtnstream.localization.event_scores import moment_scores
from vtnstream.localization.runs import split_runs
from vtnstream.localization.view_changes import ViewChanges
from vtnstream.types import FloatArray, FrameScores, ScoreTimeline

MEASURED = (
    *("change", "ratio", "standout", "lasting"),
    *("step", "spread", "likeness", "brightest"),
)
"""Measured changes of a frame, named as in
:class:`~vtnstream.localization.view_changes.ViewChanges`."""
CUT, TRANSITION = "cut_confidence", "transition_score"
"""The confidence that is compared with the threshold of cuts, and the summed score of all kinds of
gradual transition."""


def frame_scores(
    timelines: Sequence[ScoreTimeline],
    events: EventsConfig | None = None,
    changes: Sequence[ViewChanges] | None = None,
) -> FrameScores:
    """Return the scores of each label, and the measured changes for a model of shots.

    Args:
        timelines: of the same tokens. With several, columns are named after label and track.
        events: meaning of the labels of the first timeline, if it has cuts.
        changes: measured changes of each gap-free run.
    """
    columns: list[str] = []
    parts: list[FloatArray] = []
    for timeline in timelines:
        ending = f"_{timeline.track}" if len(timelines) > 1 else ""
        columns += [f"score_{label}{ending}" for label in timeline.labels]
        parts.append(timeline.scores)
    first = timelines[0]
    if events is not None:
        columns += [CUT, TRANSITION]
        parts.append(_judged(first, events, changes))
    if changes is not None:
        columns += MEASURED
        parts.append(np.concatenate([_measured(run) for run in changes]))
    values = np.concatenate(parts, axis=1).astype(np.float32)
    return FrameScores(values, first.times, tuple(columns))


def _judged(
    timeline: ScoreTimeline, events: EventsConfig, changes: Sequence[ViewChanges] | None
) -> FloatArray:
    """Return (N, 2): the confidence of a cut and the score of a transition at each token."""
    names = list(timeline.labels)
    moments = [names.index(label) for label in events.moments]
    joined = [names.index(label) for label in events.joined]
    found = []
    for number, run in enumerate(split_runs(timeline.scores, timeline.times)):
        measured = changes[number] if changes is not None else None
        highest = run.scores[:, moments].max(axis=1, initial=0.0)
        cuts = moment_scores(highest, measured, events)
        found.append(np.stack((cuts, run.scores[:, joined].sum(axis=1)), axis=1))
    return np.concatenate(found)


def _measured(changes: ViewChanges) -> FloatArray:
    """Return (T, 8) measured changes."""
    return np.stack([getattr(changes, name) for name in MEASURED], axis=1)
