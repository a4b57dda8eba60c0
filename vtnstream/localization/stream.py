"""Segments of a timeline that is not finished: each is said once it can no longer change.

Scores come in as they become final. What :func:`~vtnstream.localization.segments.to_segments`
would make of the whole timeline is known up to an anchor: a boundary of two spans that are both
longer than anything that is joined or dropped. Nothing on one side of it depends on the other
side, so that the segments before it are told and their scores forgotten.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from vtnstream.config import TimelineConfig
from vtnstream.errors import UsageError
from vtnstream.labels import BACKGROUND
from vtnstream.localization.labelling import UNLABELLED, multi_label, single_label
from vtnstream.localization.runs import TIME_TOLERANCE, Run, gap_free_runs
from vtnstream.localization.segments import cut_run
from vtnstream.localization.smoothing import smooth
from vtnstream.localization.spans import spans_of
from vtnstream.types import FloatArray, ScoreTimeline, Segment, TokenTimes

MOST_TOKENS = 1 << 16
"""Tokens that are held at most: a segment of more (nine hours at 2 tokens/s) is told in
parts."""


def check_options(options: TimelineConfig) -> None:
    """Raises:
    UsageError: an option looks at the whole timeline.
    """
    whole = {"--viterbi": options.viterbi is not None, "--nms": options.nms != "none"}
    for flag, given in whole.items():
        if given:
            raise UsageError(f"{flag} looks at the whole timeline: leave it out with --follow")


def smoothing_reach(options: TimelineConfig) -> int:
    """Tokens to each side that a smoothed score depends on."""
    return 0 if options.smoothing == "none" else (options.smoothing_size | 1) // 2


class SegmentStream:
    """Cuts a growing timeline; what it says altogether is what ``to_segments`` says of all.

    Args:
        labels: K names.
        multi_label: the scores are.
        options: how to cut.
        track: ``dense`` or ``sliding``.

    Raises:
        UsageError: an option looks at the whole timeline.
    """

    def __init__(
        self, labels: tuple[str, ...], multi_label: bool, options: TimelineConfig, track: str
    ) -> None:
        check_options(options)
        self._options = options
        self._reach = smoothing_reach(options)
        # Strictly longer than what is dropped or joined, whatever the rounding.
        self._lasting = max(options.min_duration, options.merge_gap) + 4 * TIME_TOLERANCE
        empty = np.empty((0, len(labels)), np.float32)
        self._held = ScoreTimeline(empty, TokenTimes.empty(), labels, multi_label, track)
        self._told = 0  # leading rows whose segments are told: there for smoothing alone

    def push(self, scores: FloatArray, times: TokenTimes) -> tuple[Segment, ...]:
        """The next tokens.

        Args:
            scores: (n, K), which will not change any more.
            times: of the n tokens.

        Returns:
            segments that are certain now, in order.
        """
        self._held = _joined(self._held, scores, times)
        found: list[Segment] = []
        runs = gap_free_runs(self._held.times)
        for run in runs[:-1]:
            found += self._cut(self._part(run), max(self._told - run.start, 0))
        if len(runs) > 1:
            self._forget(runs[-1].start, 0)
        anchor = self._anchor()
        if anchor:
            smoothed = smooth(self._held, self._options.smoothing, self._options.smoothing_size)
            part = slice(self._told, self._told + anchor)
            found += self._segments(_slice(smoothed, part))
            told = self._told + anchor
            self._forget(max(told - self._reach, 0), min(told, self._reach))
        return tuple(found)

    def pending(self, scores: FloatArray, times: TokenTimes) -> tuple[Segment, ...]:
        """What follows the segments told so far, if the timeline ended after these tokens.

        Args:
            scores, times: of tokens that may still change.
        """
        whole = _joined(self._held, scores, times)
        found: list[Segment] = []
        for run in gap_free_runs(whole.times):
            if run.stop > self._told:
                found += self._cut(_slice(whole, run), max(self._told - run.start, 0))
        return tuple(found)

    def _cut(self, run: ScoreTimeline, told: int) -> list[Segment]:
        """Segments of a whole gap-free run, without its first ``told`` rows."""
        smoothed = smooth(run, self._options.smoothing, self._options.smoothing_size)
        return self._segments(_slice(smoothed, slice(told, None)))

    def _segments(self, part: ScoreTimeline) -> list[Segment]:
        if not len(part.times):
            return []
        return sorted(
            cut_run(_run(part), part, self._options), key=lambda s: (s.start, s.end, s.label)
        )

    def _part(self, rows: slice) -> ScoreTimeline:
        return _slice(self._held, rows)

    def _forget(self, rows: int, told: int) -> None:
        kept = self._part(slice(rows, None))
        self._held = replace(kept, scores=kept.scores.copy())  # lets the rest go
        self._told = told

    def _anchor(self) -> int:
        """Rows after the told ones that what follows cannot touch any more."""
        settled = len(self._held.times) - self._reach
        if settled <= self._told:
            return 0
        smoothed = smooth(self._held, self._options.smoothing, self._options.smoothing_size)
        rows = _run(_slice(smoothed, slice(self._told, settled)))
        find = self._quiet_anchor if self._held.multi_label else self._lasting_anchor
        anchor = find(rows)
        if not anchor and len(self._held.times) > MOST_TOKENS:
            return settled - self._told
        return anchor

    def _lasting_anchor(self, run: Run) -> int:
        labels = self._held.labels
        fallback = labels.index(BACKGROUND) if BACKGROUND in labels else UNLABELLED
        spans = spans_of(run, single_label(run.scores, self._options, fallback))
        for before, after in reversed(list(pairwise(spans))):
            if all(run.duration(s.first, s.stop) > self._lasting for s in (before, after)):
                return after.first
        return 0

    def _quiet_anchor(self, run: Run) -> int:
        """The end of the last stretch in which no label is on for long enough."""
        on = multi_label(run.scores, self._options).any(axis=1)
        stretches = spans_of(run, np.where(on, 0, UNLABELLED))
        for span in reversed(stretches):
            long = run.duration(span.first, span.stop) > self._lasting
            if span.label == UNLABELLED and long and span.first:
                return span.stop
        return 0


def _joined(held: ScoreTimeline, scores: FloatArray, times: TokenTimes) -> ScoreTimeline:
    return replace(
        held,
        scores=np.concatenate([held.scores, scores]),
        times=TokenTimes.concatenate([held.times, times]),
    )


def _slice(timeline: ScoreTimeline, rows: slice) -> ScoreTimeline:
    return replace(timeline, scores=timeline.scores[rows], times=timeline.times[rows])


def _run(timeline: ScoreTimeline) -> Run:
    times = timeline.times
    return Run(timeline.scores, np.append(times.start_seconds, times.end_seconds[-1]))
