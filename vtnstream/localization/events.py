"""Scores per token to segments where some labels are moments at which a segment begins: cuts.

A moment is one token whose score stands out, so argmax, smoothing and Viterbi, which all look
for stretches, lose it. Here it is a local maximum above a threshold, as in event spotting.
Labels that stand for one thing of several forms (dissolve, fade, wipe) are judged by their sum
first and told apart afterwards.
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

    Segments are disjoint and cover every token of a gap-free run. One that begins with a
    moment holds that token and bears the label of what follows.

    Args:
        timeline: (N, K) probabilities of one label a token.
        events: which labels are moments, which are judged together, and the thresholds.
        options: ``threshold`` in place of both thresholds, or ``sensitivity`` to shift them;
            ``min_duration`` of shots in seconds.
        changes: of the frames of each gap-free run, where they were measured.

    Returns:
        Segments sorted by start; ``score`` is the mean probability of the label, or of the
        labels it is judged with.
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
    apart = run.scores[:, joined].sum(axis=1)
    together = _transitions(run, apart, events, options, changes)
    peaks = _moments(run, names, together, events, options, changes)
    scores = checked_scores(run, names, events, changes)
    labels = _labels(run, scores, names, events, peaks, together)
    for first, stop in together:
        labels[first:stop] = joined[int(run.scores[first:stop, joined].sum(axis=0).argmax())]
    segments = []
    for piece in _pieces(run, labels, peaks, set(joined), options.min_duration):
        value = apart if piece.label in joined else scores[:, piece.label]
        mean = float(value[piece.first : piece.stop].mean(dtype=np.float64))
        begin, end = float(run.edges[piece.first]), float(run.edges[piece.stop])
        score = min(1.0, max(0.0, mean))
        segments.append(Segment(begin, end, names[piece.label], score, timeline.track))
    return segments


def _transitions(
    run: Run,
    apart: FloatArray,
    events: EventsConfig,
    options: TimelineConfig,
    changes: ViewChanges | None,
) -> IndexArray:
    """``[first, stop)`` of gradual transitions, (M, 2)."""
    starts = run.edges[:-1]
    found = stretches(
        apart,
        thresholds(events, options).extent,
        frames_for(events.shortest, starts, events, 2),
        frames_for(events.gap, starts, events, 0),
    )
    return are_transitions(found, apart, changes, events, options)


def _moments(
    run: Run,
    names: list[str],
    together: IndexArray,
    events: EventsConfig,
    options: TimelineConfig,
    changes: ViewChanges | None,
) -> IndexArray:
    """Tokens at which a shot begins after a cut."""
    moments = [names.index(label) for label in events.moments]
    scores = run.scores[:, moments].max(axis=1, initial=0.0)
    peaks = local_maxima(
        moment_scores(scores, changes, events),
        thresholds(events, options).moment,
        frames_for(events.apart, run.edges[:-1], events, 1),
    )
    # A wipe's or fade's edge looks like a cut: the transition explains it.
    return peaks[~_near(peaks, together, len(run.scores))]


def _labels(
    run: Run,
    scores: FloatArray,
    names: list[str],
    events: EventsConfig,
    peaks: IndexArray,
    together: IndexArray,
) -> IndexArray:
    """The label of each token outside gradual transitions."""
    others = {*events.moments, *events.joined, BACKGROUND}
    lasting = [k for k, name in enumerate(names) if name not in others]
    held = [names.index(label) for label in events.held]
    steady = frames_for(events.steady, run.edges[:-1], events, 1)
    shortest = frames_for(events.held_shortest, run.edges[:-1], events, 1)
    labels = np.zeros(len(scores), np.int64)
    found = set(peaks.tolist())
    edges = {0, len(labels), *found, *together.ravel().tolist()}
    for first, stop in pairwise(sorted(edges)):
        # What a moment's own token looks like says nothing of what begins with it.
        begin = first + 1 if first in found and stop - first > 1 else first
        labels[begin:stop] = _piece_labels(scores[begin:stop], lasting, held, steady, shortest)
        labels[first] = labels[begin]
    return labels


def local_maxima(scores: FloatArray, threshold: float, apart: int) -> IndexArray:
    """Tokens that reach the threshold and are the highest within ``apart`` tokens; of equals
    the first.

    Args:
        scores: (n,).
        threshold: lowest score.
        apart: tokens between two maxima at least.
    """
    found: list[int] = []
    for place in np.flatnonzero(scores >= np.float32(threshold)).tolist():
        if found and place - found[-1] < apart:
            if scores[place] > scores[found[-1]]:
                found[-1] = place
        else:
            found.append(place)
    return np.asarray(found, np.int64)


def stretches(scores: FloatArray, threshold: float, shortest: int, gap: int) -> IndexArray:
    """``[first, stop)`` of stretches that reach the threshold, (M, 2): joined across at most
    ``gap`` tokens, then only those of at least ``shortest``."""
    on = np.concatenate([[False], scores >= np.float32(threshold), [False]])
    edges = np.flatnonzero(on[1:] != on[:-1])
    firsts, stops = edges[::2], edges[1::2]
    if len(firsts):
        parted = firsts[1:] - stops[:-1] > gap
        firsts = firsts[np.concatenate([[True], parted])]
        stops = stops[np.concatenate([parted, [True]])]
    lasting = stops - firsts >= shortest
    return np.stack([firsts[lasting], stops[lasting]], axis=1)


def _near(peaks: IndexArray, together: IndexArray, count: int) -> NDArray[np.bool_]:
    """Which peaks lie inside a stretch or right after it."""
    inside = np.zeros(count + 1, bool)
    for first, stop in together:
        inside[first : stop + 1] = True
    return inside[peaks]


def _piece_labels(
    scores: FloatArray, lasting: list[int], held: list[int], steady: int, shortest: int
) -> IndexArray:
    """Labels between two events: the likeliest, each for ``steady`` tokens at least. A held
    one stays only at the end, after another: what is still from its beginning or moves on is
    no freeze."""
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
    """Stretches (label, tokens) of at least ``steady`` tokens each: the shortest, of equals the
    first, gives way to the longer of its neighbours until none is left that is too short.

    In n log n, as a day of a camera that hardly moves may change its label at any token.
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
            continue  # it has grown or is gone
        near = [i for i in (before[at], after[at]) if i >= 0]
        if not near:
            break
        names[at] = names[max(near, key=lambda i: counts[i])]
        for i in near:
            if names[i] != names[at]:
                continue
            # The left one of two takes the other in, so that the first of equals stays first.
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
    """Segments between changes of label and peaks, shots of at least ``min_duration`` seconds."""
    starts = {0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), *peaks.tolist()}
    pieces = [
        Stretch(first, stop, int(labels[first]), int(labels[first]) in joined)
        for first, stop in pairwise([*sorted(starts), len(labels)])
    ]
    return merge_short(pieces, min_duration, run.duration) if min_duration else pieces
