"""Classify the editing style of a video, or of windows of it.

The styles are continuous take, cut, slow transitions, slideshow and still. They are derived from
the cuts and transitions that were found, not predicted separately.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vtnstream.config import EventsConfig
from vtnstream.localization.event_scores import moment_scores
from vtnstream.localization.runs import gap_free_runs, split_runs
from vtnstream.localization.view_changes import ViewChanges
from vtnstream.localization.window_scores import window_starts
from vtnstream.types import FloatArray, IndexArray, ScoreTimeline, Segment, TokenTimes

TAKE, CUT, SLOW, SLIDES, PHOTO = (
    "continuous take",
    "cut",
    "slow transitions",
    "slideshow",
    "still",
)
STYLES = (TAKE, CUT, SLIDES, SLOW, PHOTO)
SHOT = "shot"
SHOTS_TRACK, STYLE_TRACK = "shots", "editing style"
"""Names of the tracks of a timeline: its shots and transitions, and the style of its windows."""
_PHOTO_STEP = 0.15
"""Largest difference, of 255, between consecutive frames of a still."""
_MOSTLY = 0.9
"""Share of unchanged frames from which a shot is a still."""
_CONFIDENT = 0.6
_DOUBT = 0.5
"""Factor by which the confidence of a candidate below its threshold reduces that of a take."""


@dataclass(frozen=True, slots=True, eq=False)
class Edits:
    """The cuts and transitions among N tokens.

    Attributes:
        cuts: first tokens of the shots that begin with a cut.
        graduals: (M, 2) first and stop tokens of gradual transitions.
        confidence: (N,) confidence of a cut or transition relative to its threshold, at most 1.
        still: (N,) bool, whether a frame equals the previous one up to noise.
    """

    cuts: IndexArray
    graduals: IndexArray
    confidence: FloatArray
    still: np.ndarray[tuple[int], np.dtype[np.bool_]]


def edits_of(
    timeline: ScoreTimeline,
    events: EventsConfig,
    changes: Sequence[ViewChanges],
    segments: Sequence[Segment],
) -> Edits:
    """Collect the cuts and transitions of ``segments`` by token.

    Args:
        timeline: scores of N tokens.
        events: meaning of its labels.
        changes: measured changes of each gap-free run.
        segments: result of :func:`~vtnstream.localization.events.to_events`.
    """
    names = list(timeline.labels)
    joined = [names.index(label) for label in events.joined]
    moments = [names.index(label) for label in events.moments]
    parts, still = [], []
    for run, measured in zip(split_runs(timeline.scores, timeline.times), changes, strict=True):
        scores = run.scores[:, moments].max(axis=1, initial=0.0)
        cut = moment_scores(scores, measured, events) / events.moment_threshold
        gradual = run.scores[:, joined].sum(axis=1) * (events.joined_mean or 1.0)
        parts.append(np.maximum(cut, gradual))
        still.append(measured.step <= _PHOTO_STEP)
    starts = timeline.times.start_seconds
    cuts: list[int] = []
    graduals: list[tuple[int, int]] = []
    before: Segment | None = None
    for segment in segments:
        first, stop = np.searchsorted(starts, [segment.start - 1e-6, segment.end - 1e-6])
        if segment.label in events.joined:
            graduals.append((int(first), int(stop)))
        elif before is not None and _is_cut(before, segment, events):
            cuts.append(int(first))
        before = segment
    return Edits(
        np.asarray(cuts, np.int64),
        np.asarray(graduals, np.int64).reshape(-1, 2),
        np.minimum(np.concatenate(parts), 1).astype(np.float32),
        np.concatenate(still),
    )


def _is_cut(before: Segment, after: Segment, events: EventsConfig) -> bool:
    """Return whether the boundary between two consecutive segments is a cut."""
    touching = abs(before.end - after.start) < 1e-6
    return touching and before.label not in events.joined and after.label not in events.held


def edit_counts(segments: Sequence[Segment], edits: Edits) -> dict[str, float]:
    """Return the numbers of shots, cuts and gradual transitions, and the mean shot length in
    seconds."""
    shots = [s for s in segments if s.label == SHOT]
    mean = sum(s.end - s.start for s in shots) / len(shots) if shots else 0.0
    return {
        "shots": len(shots),
        "cuts": len(edits.cuts),
        "transitions": len(edits.graduals),
        "average_shot_seconds": round(mean, 3),
    }


def with_shot_numbers(segments: Iterable[Segment]) -> list[Segment]:
    """Return segments whose shots are numbered in order of time, from 1; the order of the
    segments is kept."""
    found = list(segments)
    shots = (i for i, s in enumerate(found) if s.label == SHOT and s.track in (None, SHOTS_TRACK))
    ordered = sorted(shots, key=lambda i: (found[i].start, found[i].end))
    numbers = {i: number for number, i in enumerate(ordered, 1)}
    return [replace(s, shot=numbers.get(i)) for i, s in enumerate(found)]


def style_scores(edits: Edits, first: int, stop: int) -> dict[str, float]:
    """Return the probability of each style for the tokens ``[first, stop)``; they sum to 1.

    Args:
        edits: cuts and transitions of the whole video.
        first, stop: range of tokens.
    """
    cuts = int(((edits.cuts > first) & (edits.cuts < stop)).sum())
    inside = (edits.graduals[:, 0] < stop) & (edits.graduals[:, 1] > first)
    graduals = int(inside.sum())
    still = bool(edits.still[first + 1 : stop].mean() >= _MOSTLY) if stop - first > 1 else False
    found = dict.fromkeys(STYLES, 0.0)
    if not cuts and not graduals:
        doubt = _DOUBT * float(edits.confidence[first:stop].max(initial=0.0))
        found[PHOTO if still else TAKE] = 1 - doubt
        found[CUT] = doubt
        return found
    share = graduals / (cuts + graduals)
    if still:
        found[SLIDES] = 1.0
    else:
        found[SLOW], found[CUT] = share, 1 - share
    return found


def window_styles(
    edits: Edits, times: TokenTimes, window: int, stride: int, track: str
) -> list[Segment]:
    """Return the editing style in sliding windows as segments.

    Each token has the style of the window with the nearest centre. Consecutive tokens of one
    style form a segment, unless its mean confidence is below 0.6.

    Args:
        edits: cuts and transitions of the video.
        times: its N tokens.
        window: number of tokens per window.
        stride: number of tokens between windows.
        track: name of the track.
    """
    count = len(times)
    window = min(window, count)
    starts = np.asarray(window_starts(count, window, stride), np.int64)
    best = [_best(style_scores(edits, int(first), int(first) + window)) for first in starts]
    middles = starts + window / 2
    borders = np.searchsorted((middles[1:] + middles[:-1]) / 2, np.arange(count) + 0.5)
    labels = np.asarray([STYLES.index(label) for label, _ in best], np.int64)[borders]
    scores = np.asarray([score for _, score in best], np.float64)[borders]
    found = []
    for run in gap_free_runs(times):
        edges = np.flatnonzero(np.diff(labels[run])) + 1 + run.start
        for first, stop in zip([run.start, *edges], [*edges, run.stop], strict=True):
            score = float(scores[first:stop].mean())
            if score >= _CONFIDENT:
                begin, end = times.start_seconds[first], times.end_seconds[stop - 1]
                label = STYLES[labels[first]]
                found.append(Segment(float(begin), float(end), label, score, track))
    return found


def _best(scores: dict[str, float]) -> tuple[str, float]:
    label = max(scores, key=lambda name: scores[name])
    return label, scores[label]
