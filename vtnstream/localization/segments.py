"""Scores per token to labelled segments in seconds of the source.

Split into gap-free runs -> smoothing -> Viterbi, hysteresis, threshold or argmax -> equal
labels joined across small interruptions -> minimum duration -> suppression of overlaps.
Joining comes before the minimum duration, so that pieces of one segment are not dropped one
by one (as in pyannote's ``Binarize``).

Memory beside the scores: one further array of their size when smoothing, 1/32 of it for
Viterbi, 1/4 of it for multi-label scores.
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
"""Seconds: tokens no longer than rounding never make a segment of their own."""


def to_segments(timeline: ScoreTimeline, options: TimelineConfig) -> tuple[Segment, ...]:
    """Cut a timeline into labelled segments.

    Single-label segments are disjoint and share their boundaries exactly; with
    ``options.background`` and no threshold or minimum duration they cover every token.
    Multi-label segments of different labels overlap freely. No segment crosses a gap or has
    zero length; its score is the mean of its tokens' (smoothed) probabilities of its label.

    Args:
        timeline: (N, K) scores and their tokens.
        options: smoothing, labelling, durations, suppression.

    Returns:
        Segments sorted by start, end and label, with ``track`` of the timeline.

    Raises:
        UsageError: an option names what does not exist.
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
    """Segments of one gap-free run of smoothed scores, before overlaps are suppressed."""
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
    if options.merge_gap:  # interruptions may have shrunk
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
    """Where a label is on; with suppression also where it reaches higher thresholds, .1
    apart: one extent for each, of which the best are kept."""
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
