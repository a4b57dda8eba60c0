"""Scores per token to segments where some labels are moments at which a segment begins: cuts.

A moment is one token whose score stands out, so argmax, smoothing and Viterbi, which all look
for stretches, lose it. Here it is a local maximum above a threshold, as in event spotting.
Labels that stand for one thing of several forms (dissolve, fade, wipe) are judged by their sum
first and told apart afterwards.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import EventsConfig, TimelineConfig
from vtnstream.labels import BACKGROUND
from vtnstream.localization.runs import TIME_TOLERANCE, Run, split_runs
from vtnstream.types import FloatArray, IndexArray, ScoreTimeline, Segment


def to_events(
    timeline: ScoreTimeline, events: EventsConfig, options: TimelineConfig
) -> tuple[Segment, ...]:
    """Cut a timeline at its moments and transitions.

    Segments are disjoint and cover every token of a gap-free run. One that begins with a
    moment holds that token and bears the label of what follows.

    Args:
        timeline: (N, K) probabilities of one label a token.
        events: which labels are moments, which are judged together, and the thresholds.
        options: ``threshold`` in place of both thresholds; ``min_duration`` in seconds.

    Returns:
        Segments sorted by start; ``score`` is the mean probability of the label, or of the
        labels it is judged with.
    """
    segments: list[Segment] = []
    for run in split_runs(timeline.scores, timeline.times):
        segments += _run_segments(run, timeline, events, options)
    return tuple(segments)


def _run_segments(
    run: Run, timeline: ScoreTimeline, events: EventsConfig, options: TimelineConfig
) -> list[Segment]:
    names = list(timeline.labels)
    moments = [names.index(label) for label in events.moments]
    joined = [names.index(label) for label in events.joined]
    threshold = options.threshold
    apart = run.scores[:, joined].sum(axis=1)
    together = stretches(
        apart,
        events.joined_threshold if threshold is None else threshold,
        events.shortest,
        events.gap,
    )
    peaks = local_maxima(
        run.scores[:, moments].max(axis=1, initial=0.0),
        events.moment_threshold if threshold is None else threshold,
        events.apart,
    )
    # A wipe's or fade's edge looks like a cut: the transition explains it.
    peaks = peaks[~_near(peaks, together, len(run.scores))]
    others = {*events.moments, *events.joined, BACKGROUND}
    lasting = [k for k, name in enumerate(names) if name not in others]
    held = [names.index(label) for label in events.held]
    labels = np.zeros(len(run.scores), np.int64)
    found = set(peaks.tolist())
    edges = {0, len(labels), *found, *together.ravel().tolist()}
    for first, stop in pairwise(sorted(edges)):
        # What a moment's own token looks like says nothing of what begins with it.
        begin = first + 1 if first in found and stop - first > 1 else first
        labels[begin:stop] = _piece_labels(run.scores[begin:stop], lasting, held, events.steady)
        labels[first] = labels[begin]
    for first, stop in together:
        labels[first:stop] = joined[int(run.scores[first:stop, joined].sum(axis=0).argmax())]
    segments = []
    for first, stop in _lasting(run, labels, peaks, options.min_duration):
        label = int(labels[first])
        score = apart[first:stop] if label in joined else run.scores[first:stop, label]
        value = min(1.0, max(0.0, float(score.mean(dtype=np.float64))))
        begin, end = float(run.edges[first]), float(run.edges[stop])
        segments.append(Segment(begin, end, names[label], value, timeline.track))
    return segments


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
    scores: FloatArray, lasting: list[int], held: list[int], steady: int
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


def _lasting(
    run: Run, labels: IndexArray, peaks: IndexArray, min_duration: float
) -> list[tuple[int, int]]:
    """Segments ``[first, stop)`` between changes of label and peaks; a shorter one than asked
    for goes to the one before it, at the start to the one after. ``labels`` of what gives way
    change, at their segment's first token."""
    moments = set(peaks.tolist())
    starts = sorted({0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), *moments})
    least = min_duration - TIME_TOLERANCE
    kept: list[list[int]] = []
    for first, stop in pairwise([*starts, len(labels)]):
        if kept:
            last = kept[-1]
            if run.duration(*last) < least:
                labels[last[0]] = labels[first]
                last[1] = stop
                continue
            same = labels[last[0]] == labels[first] and first not in moments
            if same or run.duration(first, stop) < least:
                last[1] = stop
                continue
        kept.append([first, stop])
    return [(first, stop) for first, stop in kept]
