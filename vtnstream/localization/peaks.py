"""Convert the evidence for a query over time to ranked segments: peaks down to half their height.

Evidence is a log-odds. At 0 the query counts as present; ``1 / (1 + exp(-evidence))`` is the
match shown to users.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vtnstream.config.search import SearchConfig
from vtnstream.localization.runs import TIME_TOLERANCE, gap_free_runs
from vtnstream.localization.smoothing import gaussian
from vtnstream.types import FloatArray, Segment, TokenTimes

_HALF = 0.5
"""Share of the height above the video's median at which a segment ends."""

_CLOSE = 1.0
"""Difference in log-odds from the peak within which presence alone extends a segment."""

_SAFE = 30.0
"""Log-odds beyond which a match is 0 or 1 in float32."""


def match_of(evidence: FloatArray) -> FloatArray:
    """Convert log-odds to matches between 0 and 1, float32 of the same shape."""
    clipped = np.clip(evidence, -_SAFE, _SAFE).astype(np.float64)
    return (1 / (1 + np.exp(-clipped))).astype(np.float32)


def evidence_of(match: float) -> float:
    """Return the log-odds of a match; 0 and 1 give the ends of the range."""
    if match <= 0:
        return -_SAFE
    return _SAFE if match >= 1 else float(np.log(match / (1 - match)))


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Evidence for one query at each of N tokens.

    Attributes:
        presence: (N,) float32 log-odds that the query is visible; decides whether there is a
            segment.
        shape: (N,) float32 evidence relative to the rest of the video; decides where a segment
            starts and ends.
        times: the N tokens.
    """

    presence: FloatArray
    shape: FloatArray
    times: TokenTimes

    def smoothed(self, seconds: float) -> Evidence:
        """Return the evidence smoothed over a window of ``seconds``, never across a gap."""
        size = smoothing_size(self.times, seconds)
        if size <= 1:
            return self
        columns = np.stack([self.presence, self.shape], axis=1)
        out = np.empty_like(columns)
        for part in gap_free_runs(self.times):
            gaussian(columns[part], size, out[part])
        return Evidence(
            np.ascontiguousarray(out[:, 0]), np.ascontiguousarray(out[:, 1]), self.times
        )


def find_segments(evidence: Evidence, label: str, config: SearchConfig) -> tuple[Segment, ...]:
    """Return the segments of a query, best first, with ranks from 1; none if the query is absent.

    A segment begins at a peak of ``presence`` that reaches ``config.min_score``. It extends to
    both sides while ``shape`` stays above half its height over the video's median, or
    ``presence`` stays close to the peak, and never crosses a gap. A peak next to a better
    segment is a slope of that segment and gives none. Segments shorter than
    ``config.min_duration`` are dropped unless they cover their gap-free run. Segments are ranked
    by the difference between the match inside and around them.

    Args:
        evidence: before smoothing.
        label: label of the segments.
        config: number of segments, lowest match, smoothing, minimum duration.

    Returns:
        At most ``config.max_segments``; their score is the match at the peak.
    """
    count = len(evidence.times)
    if not count:
        return ()
    evidence = evidence.smoothed(config.smoothing_seconds)
    matches = match_of(evidence.presence)
    median = float(np.median(evidence.shape))
    free = np.ones(count, bool)
    runs = np.empty((count, 2), np.int64)
    for part in gap_free_runs(evidence.times):
        runs[part] = part.start, part.stop
    found: list[tuple[float, Segment]] = []
    floor = evidence_of(config.min_score)
    candidates = np.flatnonzero(evidence.presence >= floor)
    for peak in candidates[np.argsort(-evidence.presence[candidates], kind="stable")]:
        if not free[peak]:
            continue
        first, stop = _extent(evidence, free, int(peak), median, *runs[peak])
        low, high = runs[peak]
        slope = (first > low and not free[first - 1]) or (stop < high and not free[stop])
        free[first:stop] = False
        if slope:
            continue
        start, end = _seconds(evidence.times, first, stop)
        if end - start < config.min_duration - TIME_TOLERANCE and stop - first < np.ptp(runs[peak]):
            continue
        inside = float(matches[first:stop].mean())
        contrast = inside - _mean_around(matches, first, stop)
        found.append((contrast, Segment(start, end, label, float(matches[peak]))))
    found.sort(key=lambda item: -item[0])
    ranked = (segment for _, segment in found[: config.max_segments])
    return tuple(replace(segment, rank=rank) for rank, segment in enumerate(ranked, 1))


def _extent(
    evidence: Evidence, free: np.ndarray, peak: int, median: float, first: int, stop: int
) -> tuple[int, int]:
    """Return the range of tokens around ``peak`` within ``[first, stop)`` that belong to its
    segment.

    They stay above half its height, or close to its presence, and belong to no better segment.
    """
    shape, presence = evidence.shape, evidence.presence
    lowest = median + _HALF * (float(shape[peak]) - median)
    high = shape[first:stop] >= lowest
    close = presence[first:stop] >= max(0.0, float(presence[peak]) - _CLOSE)
    fits = (high | close) & free[first:stop]
    outside = np.flatnonzero(~fits)
    place = int(np.searchsorted(outside, peak - first))
    before = int(outside[place - 1]) + 1 if place else 0
    after = int(outside[place]) if place < len(outside) else stop - first
    return int(first) + before, int(first) + after


def _mean_around(matches: FloatArray, first: int, stop: int) -> float:
    """Return the mean match over one segment length before and after the segment; 0 without
    neighbours."""
    length = stop - first
    near = np.concatenate([matches[max(0, first - length) : first], matches[stop : stop + length]])
    return float(near.mean()) if len(near) else 0.0


def _seconds(times: TokenTimes, first: int, stop: int) -> tuple[float, float]:
    end = times.end_seconds[stop - 1]
    if stop < len(times) and abs(times.start_seconds[stop] - end) <= TIME_TOLERANCE:
        end = times.start_seconds[stop]  # adjacent segments share their boundary exactly
    return float(times.start_seconds[first]), float(end)


def smoothing_size(times: TokenTimes, seconds: float) -> int:
    """Return the number of tokens in a window of ``seconds``, by the median step; at least 1."""
    if len(times) < 2:
        return 1
    step = float(np.median(np.diff(times.start_seconds)))
    return max(1, round(seconds / step)) if step > 0 else 1
