"""Predicted and true labels of a timeline's frames, for frame-wise metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.labels import BACKGROUND
from vtnstream.types import SecondsArray, Segment

Spans = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class ComparedFrames:
    """The frames of one video at which prediction and truth are compared.

    Attributes:
        predicted: label of each frame; ``background`` where no segment is.
        truth: true label of each frame, likewise.
        not_covered: number of frames that are left out because the timeline does not reach them.
    """

    predicted: list[str]
    truth: list[str]
    not_covered: int = 0


def compare_frames(
    end: float,
    predicted: Sequence[Segment],
    truth: Sequence[Segment],
    rate: float,
    *,
    ignore: bool = False,
    covered: Spans | None = None,
) -> ComparedFrames:
    """Return predicted and true labels at the centre of each frame of a video.

    Args:
        end: length of the video in seconds.
        predicted: segments of the timeline.
        truth: annotated segments.
        rate: frames per second.
        ignore: leave out frames outside all true segments.
        covered: spans ``[start, end)`` in seconds that the timeline answers; frames outside them
            and outside all predicted segments are left out. None is the whole video.
    """
    times = (np.arange(max(round(end * rate), 1), dtype=np.float64) + 0.5) / rate
    if ignore:
        times = times[_inside([(s.start, s.end) for s in truth], times)]
    left_out = 0
    if covered is not None:
        answered = _inside([*covered, *((s.start, s.end) for s in predicted)], times)
        left_out = int((~answered).sum())
        times = times[answered]
    return ComparedFrames(_at(predicted, times), _at(truth, times), left_out)


def coverage_note(frames: Sequence[ComparedFrames], rate: float) -> str:
    """Say how much of the videos the timelines do not reach; empty if they reach all of them."""
    missing = [each.not_covered for each in frames if each.not_covered]
    if not missing:
        return ""
    total = sum(missing) + sum(len(each.truth) for each in frames)
    return (
        f"{sum(missing) / rate:.1f} s of {total / rate:.1f} s ({sum(missing) / total:.1%}), in "
        f"{len(missing)} of {len(frames)} videos, at most {max(missing) / rate:.1f} s in one, are "
        "not covered by the timelines (after the last sampled frame, or without frames), and are "
        "left out of frame-wise metrics"
    )


def _inside(spans: Spans, times: SecondsArray) -> NDArray[np.bool_]:
    """Return which times (N,) lie in a span."""
    known = np.zeros(len(times), bool)
    for start, end in spans:
        known |= (times >= start) & (times < end)
    return known


def _at(segments: Sequence[Segment], times: SecondsArray) -> list[str]:
    """Return the label at each time; among overlapping segments the highest score wins."""
    labels = [BACKGROUND] * len(times)
    for segment in sorted(segments, key=lambda s: s.score):
        first, stop = np.searchsorted(times, [segment.start, segment.end], side="left")
        labels[first:stop] = [segment.label] * int(stop - first)
    return labels
