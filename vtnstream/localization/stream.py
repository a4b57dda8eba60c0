"""Cut a growing timeline: each segment is emitted once it can no longer change.

Scores arrive when they are final. The segments that
:func:`~vtnstream.localization.segments.to_segments` would give for the whole timeline are known
up to an anchor: a boundary between two spans that are both longer than anything that is joined
or dropped. Neither side of an anchor depends on the other, so that the segments before it are
emitted and their scores discarded.
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
"""Maximum number of stored tokens (nine hours at 2 tokens/s); longer segments come in parts."""


def check_options(options: TimelineConfig) -> None:
    """Check that the options can be applied to a growing timeline.

    Raises:
        UsageError: an option needs the whole timeline.
    """
    whole = {"--viterbi": options.viterbi is not None, "--nms": options.nms != "none"}
    for flag, given in whole.items():
        if given:
            raise UsageError(f"{flag} looks at the whole timeline: leave it out with --follow")


def smoothing_reach(options: TimelineConfig) -> int:
    """Return the number of tokens on each side that a smoothed score depends on."""
    return 0 if options.smoothing == "none" else (options.smoothing_size | 1) // 2


class SegmentStream:
    """Cuts a growing timeline; its segments equal those of ``to_segments`` for the whole timeline.

    Args:
        labels: K names.
        multi_label: whether the scores are multi-label.
        options: localization options.
        track: ``dense`` or ``sliding``.

    Raises:
        UsageError: an option needs the whole timeline.
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
        self._num_emitted = 0  # leading rows kept for smoothing only: their segments were emitted

    def push(self, scores: FloatArray, times: TokenTimes) -> tuple[Segment, ...]:
        """Add the next tokens.

        Args:
            scores: (n, K) final scores.
            times: the n tokens.

        Returns:
            The segments that became certain, in order.
        """
        self._held = _joined(self._held, scores, times)
        found: list[Segment] = []
        runs = gap_free_runs(self._held.times)
        for run in runs[:-1]:
            found += self._cut(self._part(run), max(self._num_emitted - run.start, 0))
        if len(runs) > 1:
            self._discard_before(runs[-1].start, 0)
        anchor = self._anchor()
        if anchor:
            smoothed = smooth(self._held, self._options.smoothing, self._options.smoothing_size)
            part = slice(self._num_emitted, self._num_emitted + anchor)
            found += self._segments(_slice(smoothed, part))
            emitted = self._num_emitted + anchor
            self._discard_before(max(emitted - self._reach, 0), min(emitted, self._reach))
        return tuple(found)

    def pending(self, scores: FloatArray, times: TokenTimes) -> tuple[Segment, ...]:
        """Return the segments after those emitted so far if the timeline ended after these tokens.

        Args:
            scores: (n, K) scores that may still change.
            times: the n tokens.
        """
        whole = _joined(self._held, scores, times)
        found: list[Segment] = []
        for run in gap_free_runs(whole.times):
            if run.stop > self._num_emitted:
                found += self._cut(_slice(whole, run), max(self._num_emitted - run.start, 0))
        return tuple(found)

    def _cut(self, run: ScoreTimeline, emitted: int) -> list[Segment]:
        """Return the segments of a whole gap-free run without its first ``emitted`` rows."""
        smoothed = smooth(run, self._options.smoothing, self._options.smoothing_size)
        return self._segments(_slice(smoothed, slice(emitted, None)))

    def _segments(self, part: ScoreTimeline) -> list[Segment]:
        if not len(part.times):
            return []
        return sorted(
            cut_run(_run(part), part, self._options), key=lambda s: (s.start, s.end, s.label)
        )

    def _part(self, rows: slice) -> ScoreTimeline:
        return _slice(self._held, rows)

    def _discard_before(self, rows: int, emitted: int) -> None:
        kept = self._part(slice(rows, None))
        self._held = replace(kept, scores=kept.scores.copy())  # the copy frees the other rows
        self._num_emitted = emitted

    def _anchor(self) -> int:
        """Return the number of rows after the emitted ones that later tokens cannot change."""
        settled = len(self._held.times) - self._reach
        if settled <= self._num_emitted:
            return 0
        smoothed = smooth(self._held, self._options.smoothing, self._options.smoothing_size)
        rows = _run(_slice(smoothed, slice(self._num_emitted, settled)))
        find = self._quiet_anchor if self._held.multi_label else self._lasting_anchor
        anchor = find(rows)
        if not anchor and len(self._held.times) > MOST_TOKENS:
            return settled - self._num_emitted
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
        """Return the end of the last span in which no label is on and that is long enough; 0 if
        none."""
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
