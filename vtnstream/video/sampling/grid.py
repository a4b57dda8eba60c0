"""The sampling grid: the expected number of tokens, and the indices in a range of time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from vtnstream.config import SamplingConfig
from vtnstream.types import TimeRange, VideoInfo


@dataclass(frozen=True, slots=True)
class Burst:
    """The frames of one token: ``frames`` frames from its time on, ``step`` seconds apart. Kinds of
    sampling that count frames use consecutive selected frames.

    Indices then count frames: token k has the indices from ``frames * k`` on.
    """

    frames: int = 1
    step: Fraction = Fraction(0)


SINGLE = Burst()


def estimate_num_tokens(
    info: VideoInfo, sampling: SamplingConfig, span: TimeRange | None = None
) -> int | None:
    """Return the number of tokens to expect according to the header; None if it does not say.

    Headers are often wrong, so the number is for progress and plans only, not a bound.
    """
    span = span or TimeRange()
    if sampling.kind == "uniform":
        return sampling.num_frames
    seconds = _span_seconds(info, span)
    if sampling.kind == "rate":
        if seconds is None:
            return None
        first, stop = index_range(sampling, TimeRange(span.start, span.start + seconds))
        assert stop is not None
        return stop - first
    if sampling.kind == "keyframes":
        return None
    frames = _num_frames(info, seconds)
    if frames is None:
        return None
    return ceil(frames / (sampling.stride if sampling.kind == "stride" else 1))


def index_range(sampling: SamplingConfig, span: TimeRange) -> tuple[int, int | None]:
    """Return the token indices ``[first, stop)`` of a range of player time.

    With a rate, these are the tokens whose grid time lies in the range; a range between two grid
    points has the token displayed there. Other kinds count from the start of the range, so their
    indices are ``(0, None)``.
    """
    if sampling.kind != "rate":
        return 0, None
    first = ceil(span.start * sampling.fps)
    if span.end is None:
        return first, None
    stop = ceil(span.end * sampling.fps)
    if stop <= first and span.end > span.start:
        first = floor(span.start * sampling.fps)
        stop = first + 1
    return first, max(first, stop)


def _span_seconds(info: VideoInfo, span: TimeRange) -> Fraction | None:
    end = info.duration_from_header
    if span.end is not None:
        end = span.end if end is None else min(end, span.end)
    return None if end is None else max(Fraction(0), end - span.start)


def _num_frames(info: VideoInfo, seconds: Fraction | None) -> int | None:
    whole = info.duration_from_header
    if seconds is None:
        return info.num_frames_from_header
    if info.num_frames_from_header and whole:
        return round(info.num_frames_from_header * seconds / whole)
    return round(seconds * info.average_rate) if info.average_rate else None
