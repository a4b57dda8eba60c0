"""Decide whether a result is complete, and if not, what was read."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from vtnstream.config import SamplingConfig
from vtnstream.features.store import EndRecord
from vtnstream.timecode import format_time
from vtnstream.types import DecodeStats, Partial, TimeRange, TokenTimes, VideoInfo
from vtnstream.video.sampling.grid import index_range
from vtnstream.wording import plural

_SLACK = 1e-6
_MAX_PLACES = 5


def gaps(times: TokenTimes) -> list[tuple[float, float]]:
    """Return the spans ``[start, end)`` in seconds that lie between tokens and that no token
    covers."""
    ends, starts = times.end_seconds[:-1], times.start_seconds[1:]
    holes = np.flatnonzero(starts - ends > _SLACK)
    return [(float(ends[i]), float(starts[i])) for i in holes]


def _gaps_at_the_edges(
    times: TokenTimes, sampling: SamplingConfig, span: TimeRange, end: EndRecord | None
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Return the gaps before the first and after the last token of a requested range.

    Only a sampling rate determines which tokens must exist. The beginning of the video is never
    a gap, because a video may show its first frame late.
    """
    if sampling.kind != "rate":
        return [], []
    first, stop = index_range(sampling, span)
    before, after = [], []
    if span.start > 0 and times.indices[0] > first:
        before.append((float(span.start), float(times.start_seconds[0])))
    last_end = float(times.end_seconds[-1])
    if end is not None and (span.end is None or float(span.end) > end.end_seconds):
        # The last token ends with its own frame, less than one step before the video.
        if end.end_seconds - last_end > float(1 / sampling.fps) + _SLACK:
            after.append((last_end, end.end_seconds))
    elif span.end is not None and stop is not None and times.indices[-1] < stop - 1:
        after.append((last_end, float(span.end)))
    return before, after


def partial_result(
    times: TokenTimes,
    stats: DecodeStats,
    info: VideoInfo,
    sampling: SamplingConfig,
    span: TimeRange,
    end: EndRecord | None,
) -> Partial | None:
    """Return why the range is incomplete, or None.

    Errors count where they occurred. The duration in the header counts only if the end of the
    video was requested.

    Args:
        times: tokens of the requested range.
        stats: errors that decoding them met.
        info: the header.
        sampling: which tokens should exist.
        span: the requested range.
        end: the end of the video, if it was reached.
    """
    to_the_end = end is not None and (span.end is None or float(span.end) > end.end_seconds)
    errors, corrupt = stats.num_packet_errors, stats.num_corrupt
    if end is not None and to_the_end and span.start == 0:
        # Damage after the last token is in no chunk, only in the sum at the end.
        errors = max(errors, end.stats.num_packet_errors)
        corrupt = max(corrupt, end.stats.num_corrupt)
    before, after = _gaps_at_the_edges(times, sampling, span, end)
    holes = before + gaps(times) + after
    reasons = []
    if errors:
        reasons.append(f"{plural(errors, 'packet')} could not be decoded")
    if corrupt:
        reasons.append(f"{plural(corrupt, 'packet or frame is', 'packets or frames are')} corrupt")
    if holes:
        reasons.append(_describe(holes))
    if end is not None and to_the_end:
        reasons += end.problems
    if not reasons:
        return None
    return Partial(
        reasons=tuple(reasons),
        seconds_read=float(np.sum(times.end_seconds - times.start_seconds)),
        seconds_expected=seconds_expected(info, span),
        gaps=tuple(holes),
        num_packet_errors=errors,
        num_corrupt=corrupt,
    )


def _describe(holes: list[tuple[float, float]]) -> str:
    shown = [
        f"{format_time(Fraction(a), digits=2)} to {format_time(Fraction(b), digits=2)}"
        for a, b in holes[:_MAX_PLACES]
    ]
    more = len(holes) - _MAX_PLACES
    return "no frames from " + ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def seconds_expected(info: VideoInfo, span: TimeRange) -> float | None:
    """Return the seconds of a range by the header; None if the header gives no duration."""
    stop = info.duration_from_header
    if span.end is not None:
        stop = span.end if stop is None else min(stop, span.end)
    return None if stop is None else max(0.0, float(stop - span.start))
