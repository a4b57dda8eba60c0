"""Scores per token to segments where some labels are moments: cuts, goals, phases that start.

A moment is one token whose score stands out, so argmax, smoothing and Viterbi, which all look
for stretches, lose it. Here it is a local maximum above a threshold, as in event spotting, and
begins a new segment. Labels that stand for one thing of several forms (dissolve, fade, wipe)
are judged by their sum first and told apart afterwards.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import EventsConfig, TimelineConfig
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
    labels = _stretch_labels(run.scores, [*moments, *joined], names)
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


def _stretch_labels(scores: FloatArray, others: list[int], names: list[str]) -> IndexArray:
    """The likeliest label of each token among those that are neither moments nor judged
    together."""
    lasting = np.asarray([k for k in range(len(names)) if k not in others], np.int64)
    labels: IndexArray = lasting[scores[:, lasting].argmax(axis=1)]
    return labels


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
