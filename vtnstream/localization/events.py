"""Convert scores per token to segments if some labels mark moments at which a segment begins
(cuts).

A moment is a single token with a high score, which argmax, smoothing and Viterbi would remove.
It is found as a local maximum above a threshold, as in event spotting. Labels that are forms of
one kind of event (dissolve, fade, wipe) are detected by their sum and distinguished afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import EventsConfig, TimelineConfig
from vtnstream.labels import BACKGROUND
from vtnstream.localization.event_scores import (
    are_transitions,
    checked_scores,
    frames_for,
    moment_scores,
    thresholds,
)
from vtnstream.localization.runs import Run, split_runs
from vtnstream.localization.shot_length import Stretch, merge_short
from vtnstream.localization.view_changes import ViewChanges
from vtnstream.types import FloatArray, IndexArray, ScoreTimeline, Segment


def to_events(
    timeline: ScoreTimeline,
    events: EventsConfig,
    options: TimelineConfig,
    changes: Sequence[ViewChanges] | None = None,
) -> tuple[Segment, ...]:
    """Cut a timeline at its moments and transitions.

    Segments are disjoint and cover every token of a gap-free run. A segment that begins with a
    moment includes that token and has the label of the tokens after it.

    Args:
        timeline: (N, K) probabilities with one label per token.
        events: labels that are moments, labels that are detected transitions, and thresholds.
        options: ``threshold`` replaces both thresholds, ``sensitivity`` shifts them, and
            ``min_duration`` is the minimum length of shots in seconds.
        changes: measured changes of each gap-free run, or None.

    Returns:
        Segments in order of time; the score is the mean probability of the label, or of the labels
        that are detected transitions.
    """
    segments: list[Segment] = []
    for number, run in enumerate(split_runs(timeline.scores, timeline.times)):
        measured = changes[number] if changes is not None else None
        segments += _run_segments(run, timeline, events, options, measured)
    return tuple(segments)


def _run_segments(
    run: Run,
    timeline: ScoreTimeline,
    events: EventsConfig,
    options: TimelineConfig,
    changes: ViewChanges | None,
) -> list[Segment]:
    names = list(timeline.labels)
    joined = [names.index(label) for label in events.joined]
    joined_scores = run.scores[:, joined].sum(axis=1)
    transitions = _transitions(run, joined_scores, events, options, changes)
    peaks = _moments(run, names, transitions, events, options, changes)
    scores = checked_scores(run, names, events, changes)
    labels = _labels(run, scores, names, events, peaks, transitions)
    for first, stop in transitions:
        labels[first:stop] = joined[int(run.scores[first:stop, joined].sum(axis=0).argmax())]
    segments = []
    for piece in _pieces(run, labels, peaks, set(joined), options.min_duration):
        value = joined_scores if piece.label in joined else scores[:, piece.label]
        mean = float(value[piece.first : piece.stop].mean(dtype=np.float64))
        begin, end = float(run.edges[piece.first]), float(run.edges[piece.stop])
        score = min(1.0, max(0.0, mean))
        segments.append(Segment(begin, end, names[piece.label], score, timeline.track))
    return segments


def _transitions(
    run: Run,
    joined_scores: FloatArray,
    events: EventsConfig,
    options: TimelineConfig,
    changes: ViewChanges | None,
) -> IndexArray:
    """Return the gradual transitions as (M, 2) ranges ``[first, stop)``."""
    starts = run.edges[:-1]
    found = stretches(
        joined_scores,
        thresholds(events, options).extent,
        frames_for(events.joined_length, starts, events, 2),
        frames_for(events.joined_gap, starts, events, 0),
    )
    return are_transitions(found, joined_scores, changes, events, options)


def _moments(
    run: Run,
    names: list[str],
    transitions: IndexArray,
    events: EventsConfig,
    options: TimelineConfig,
    changes: ViewChanges | None,
) -> IndexArray:
    """Return the tokens at which a shot begins after a cut."""
    moments = [names.index(label) for label in events.moments]
    scores = run.scores[:, moments].max(axis=1, initial=0.0)
    peaks = local_maxima(
        moment_scores(scores, changes, events),
        thresholds(events, options).moment,
        frames_for(events.moment_distance, run.edges[:-1], events, 1),
    )
    # The edge of a wipe or fade resembles a cut, so peaks at transitions are ignored.
    return peaks[~_near(peaks, transitions, len(run.scores))]


def _labels(
    run: Run,
    scores: FloatArray,
    names: list[str],
    events: EventsConfig,
    peaks: IndexArray,
    transitions: IndexArray,
) -> IndexArray:
    """Return the (T,) label of each token outside gradual transitions."""
    others = {*events.moments, *events.joined, BACKGROUND}
    lasting = [k for k, name in enumerate(names) if name not in others]
    held = [names.index(label) for label in events.held]
    steady = frames_for(events.event_gap, run.edges[:-1], events, 1)
    shortest = frames_for(events.held_length, run.edges[:-1], events, 1)
    labels = np.zeros(len(scores), np.int64)
    found = set(peaks.tolist())
    edges = {0, len(labels), *found, *transitions.ravel().tolist()}
    for first, stop in pairwise(sorted(edges)):
        # The scores of a moment's own token do not describe the segment that begins with it.
        begin = first + 1 if first in found and stop - first > 1 else first
        labels[begin:stop] = _piece_labels(scores[begin:stop], lasting, held, steady, shortest)
        labels[first] = labels[begin]
    return labels


def local_maxima(scores: FloatArray, threshold: float, distance: int) -> IndexArray:
    """Return the tokens that reach the threshold and are the highest within ``distance`` tokens.

    Of equal scores the first counts.

    Args:
        scores: (n,) scores.
        threshold: lowest score.
        distance: minimum number of tokens between two maxima.
    """
    found: list[int] = []
    for place in np.flatnonzero(scores >= np.float32(threshold)).tolist():
        if found and place - found[-1] < distance:
            if scores[place] > scores[found[-1]]:
                found[-1] = place
        else:
            found.append(place)
    return np.asarray(found, np.int64)


def stretches(scores: FloatArray, threshold: float, shortest: int, gap: int) -> IndexArray:
    """Return the ranges ``[first, stop)`` of tokens that reach the threshold, (M, 2).

    Ranges at most ``gap`` tokens apart are joined; then those shorter than ``shortest`` are
    dropped.
    """
    on = np.concatenate([[False], scores >= np.float32(threshold), [False]])
    edges = np.flatnonzero(on[1:] != on[:-1])
    firsts, stops = edges[::2], edges[1::2]
    if len(firsts):
        parted = firsts[1:] - stops[:-1] > gap
        firsts = firsts[np.concatenate([[True], parted])]
        stops = stops[np.concatenate([parted, [True]])]
    lasting = stops - firsts >= shortest
    return np.stack([firsts[lasting], stops[lasting]], axis=1)


def _near(peaks: IndexArray, transitions: IndexArray, count: int) -> NDArray[np.bool_]:
    """Return (P,) bool: whether each peak lies inside a range or directly after it."""
    inside = np.zeros(count + 1, bool)
    for first, stop in transitions:
        inside[first : stop + 1] = True
    return inside[peaks]


def _piece_labels(
    scores: FloatArray, lasting: list[int], held: list[int], steady: int, shortest: int
) -> IndexArray:
    """Return the labels between two events: the most probable ones, for at least ``steady`` tokens
    each.

    A held label (freeze) remains only at the end of the piece, after another label: frames that
    are still from the beginning, or that move again afterwards, are not frozen.
    """
    likeliest = np.asarray(lasting, np.int64)[scores[:, lasting].argmax(axis=1)]
    stretches = steadied(likeliest, steady)
    names = [label for label, _ in stretches]
    for i in reversed(range(len(names) - 1)):
        if names[i] in held:
            names[i] = names[i + 1]
    if len(names) > 1 and names[-1] in held and stretches[-1][1] < shortest:
        names[-1] = names[-2]
    if names[0] in held:
        moving = [k for k in lasting if k not in held]
        names = [moving[int(scores[:, moving].sum(axis=0).argmax())]] * len(names)
    return np.repeat(np.asarray(names, np.int64), [count for _, count in stretches])


def steadied(labels: IndexArray, steady: int) -> list[tuple[int, int]]:
    """Return runs (label, number of tokens) of at least ``steady`` tokens each.

    The shortest run (of equal ones the first) is merged into the longer of its neighbours until
    none is too short. This takes O(n log n), because the labels of a nearly static camera may
    change at any token of a day.
    """
    starts = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
    names = labels[starts[:-1]].tolist()
    counts = np.diff(starts).tolist()
    before = list(range(-1, len(names) - 1))
    after = [*range(1, len(names)), -1]
    waiting = [(count, i) for i, count in enumerate(counts) if count < steady]
    heapify(waiting)
    while waiting:
        count, at = heappop(waiting)
        if counts[at] != count:
            continue  # the run has grown or was merged
        near = [i for i in (before[at], after[at]) if i >= 0]
        if not near:
            break
        names[at] = names[max(near, key=lambda i: counts[i])]
        for i in near:
            if names[i] != names[at]:
                continue
            # The left run keeps its index, which decides between runs of equal length.
            left, right = (i, at) if i == before[at] else (at, i)
            counts[left] += counts[right]
            counts[right] = 0
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            at = left
        if counts[at] < steady:
            heappush(waiting, (counts[at], at))
    return [(name, count) for name, count in zip(names, counts, strict=True) if count]


def _pieces(
    run: Run, labels: IndexArray, peaks: IndexArray, joined: set[int], min_duration: float
) -> list[Stretch]:
    """Return the segments between label changes and peaks; shots last at least ``min_duration``
    seconds."""
    starts = {0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), *peaks.tolist()}
    pieces = [
        Stretch(first, stop, int(labels[first]), int(labels[first]) in joined)
        for first, stop in pairwise([*sorted(starts), len(labels)])
    ]
    return merge_short(pieces, min_duration, run.duration) if min_duration else pieces
