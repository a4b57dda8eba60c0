"""Convert scores per token to labelled segments in seconds of the source.

The steps are: split into gap-free runs; smoothing; Viterbi, hysteresis, threshold or argmax;
joining of equal labels across short interruptions; minimum duration; suppression of overlaps.
Joining precedes the minimum duration, so that the parts of one segment are not dropped one by
one (as in pyannote's ``Binarize``).

Memory in addition to the scores: one array of their size for smoothing, 1/32 of it for Viterbi,
1/4 of it for multi-label scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import TimelineConfig
from vtnstream.labels import BACKGROUND
from vtnstream.localization.absorb import absorb_short
from vtnstream.localization.labelling import (
    MULTI_LABEL_THRESHOLD,
    UNLABELLED,
    Levels,
    multi_label,
    single_label,
)
from vtnstream.localization.nms import suppress
from vtnstream.localization.runs import TIME_TOLERANCE, Run, split_runs
from vtnstream.localization.smoothing import smooth
from vtnstream.localization.spans import join_close, on_spans, spans_of
from vtnstream.types import ScoreTimeline, Segment

_SHORTEST = 2 * TIME_TOLERANCE
"""Minimum duration in seconds: tokens within rounding errors make no segment of their own."""


def to_segments(timeline: ScoreTimeline, options: TimelineConfig) -> tuple[Segment, ...]:
    """Cut a timeline into labelled segments.

    Single-label segments are disjoint and share their boundaries exactly; with
    ``options.background`` and no threshold or minimum duration they cover every token.
    Multi-label segments of different labels may overlap. No segment crosses a gap or has zero
    length. The score of a segment is the mean smoothed probability of its label.

    Args:
        timeline: (N, K) scores and their tokens.
        options: smoothing, labelling, durations, suppression.

    Returns:
        Segments sorted by start, end and label, with the timeline's ``track``.

    Raises:
        UsageError: the name of a smoothing or suppression method is unknown.
    """
    if not timeline.scores.size:
        return ()
    timeline = smooth(timeline, options.smoothing, options.smoothing_size)
    runs = split_runs(timeline.scores, timeline.times)
    segments = [segment for run in runs for segment in cut_run(run, timeline, options)]
    lowest = 0.0
    if timeline.multi_label and options.nms != "none":
        lowest = Levels.of(options, default=MULTI_LABEL_THRESHOLD).offset
    return tuple(suppress(segments, options.nms, options.nms_threshold, min_score=lowest))


def cut_run(run: Run, timeline: ScoreTimeline, options: TimelineConfig) -> list[Segment]:
    """Return the segments of one gap-free run of smoothed scores, before suppression."""
    cut = _multi_label if timeline.multi_label else _single_label
    return cut(run, timeline, options)


def _single_label(run: Run, timeline: ScoreTimeline, options: TimelineConfig) -> list[Segment]:
    labels = timeline.labels
    background = labels.index(BACKGROUND) if BACKGROUND in labels else UNLABELLED
    never = {background, UNLABELLED}
    shortest = max(options.min_duration, _SHORTEST)
    spans = spans_of(run, single_label(run.scores, options, background))
    if options.merge_gap:
        spans = join_close(run, spans, options.merge_gap, never)
    spans = absorb_short(run, spans, shortest)
    if options.merge_gap:  # interruptions may be shorter now
        spans = join_close(run, spans, options.merge_gap, never)
    hidden = {UNLABELLED} if options.background else never
    return [
        _segment(run, span.first, span.stop, labels[span.label], span.score, timeline.track)
        for span in spans
        if span.label not in hidden
    ]


def _multi_label(run: Run, timeline: ScoreTimeline, options: TimelineConfig) -> list[Segment]:
    segments: list[Segment] = []
    shortest = max(options.min_duration, _SHORTEST)
    on = multi_label(run.scores, options)
    for label, name in enumerate(timeline.labels):
        if name == BACKGROUND and not options.background:
            continue
        found: set[tuple[int, int]] = set()
        for mask in _proposals(run, on, label, options):
            firsts, stops = on_spans(run, mask, options.merge_gap, shortest)
            found.update(zip(firsts.tolist(), stops.tolist(), strict=True))
        for first, stop in sorted(found):
            score = run.total(label, first, stop) / (stop - first)
            segments.append(_segment(run, first, stop, name, score, timeline.track))
    return segments


def _proposals(
    run: Run, on: NDArray[np.bool_], label: int, options: TimelineConfig
) -> list[NDArray[np.bool_]]:
    """Return the masks of tokens at which a label is on, each (n,).

    With suppression there is a further mask for each higher threshold in steps of 0.1;
    suppression keeps the best of the resulting extents.
    """
    masks = [on[:, label]]
    if options.nms != "none":
        base = Levels.of(options, default=MULTI_LABEL_THRESHOLD).onset
        scores = run.scores[:, label]
        masks += [scores >= np.float32(step / 10) for step in range(1, 10) if step / 10 > base]
    return masks


def _segment(run: Run, first: int, stop: int, label: str, score: float, track: str) -> Segment:
    # A mean of float32 probabilities may leave [0, 1] by rounding.
    score = min(1.0, max(0.0, score))
    return Segment(float(run.edges[first]), float(run.edges[stop]), label, score, track)
