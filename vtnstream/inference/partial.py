"""Whether a result is complete, and if not, what was read (``media.md``: four signals)."""

from __future__ import annotations

import numpy as np

from vtnstream.features.store import EndRecord
from vtnstream.types import DecodeStats, Partial, TimeRange, TokenTimes, VideoInfo

_SLACK = 1e-6


def gaps(times: TokenTimes) -> list[tuple[float, float]]:
    """Spans between tokens that no token covers, ``[start, end)`` in seconds."""
    ends, starts = times.end_seconds[:-1], times.start_seconds[1:]
    holes = np.flatnonzero(starts - ends > _SLACK)
    return [(float(ends[i]), float(starts[i])) for i in holes]


def partial_result(
    times: TokenTimes,
    stats: DecodeStats,
    info: VideoInfo,
    span: TimeRange,
    end: EndRecord | None,
) -> Partial | None:
    """Why the range is incomplete, or None.

    Args:
        times: tokens of the requested range.
        stats: errors met while decoding them.
        info: what the header promised.
        span: what was asked for.
        end: what is known of the end of the video, where it was reached.

    Errors count where they were met; the header's promise counts only where the end of the
    video was asked for.
    """
    whole_tail = end is not None and (span.end is None or float(span.end) > end.end_seconds)
    if end is not None and whole_tail and span.start == 0:
        stats = end.stats
    holes = gaps(times)
    reasons = []
    if stats.num_packet_errors:
        reasons.append(f"{stats.num_packet_errors} packets could not be decoded")
    if stats.num_corrupt:
        reasons.append(f"{stats.num_corrupt} packets or frames are corrupt")
    if holes:
        missing = sum(b - a for a, b in holes)
        reasons.append(f"{len(holes)} gaps of {missing:.2f} s together hold no usable frame")
    if end is not None and whole_tail:
        reasons += [problem for problem in end.problems if problem not in reasons]
    if not reasons:
        return None
    return Partial(
        reasons=tuple(reasons),
        seconds_read=float(np.sum(times.end_seconds - times.start_seconds)),
        seconds_expected=_expected(info, span),
        gaps=tuple(holes),
        num_packet_errors=stats.num_packet_errors,
        num_corrupt=stats.num_corrupt,
    )


def _expected(info: VideoInfo, span: TimeRange) -> float | None:
    stop = info.duration_from_header
    if span.end is not None:
        stop = span.end if stop is None else min(stop, span.end)
    return None if stop is None else max(0.0, float(stop - span.start))
