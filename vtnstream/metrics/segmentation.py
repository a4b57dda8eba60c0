"""Metrics of timelines as MS-TCN defines them (Abu Farha and Gall, CVPR 2019; ``eval.py`` of its
repository). All values are percentages.

Frame accuracy counts the frames of all videos together, background included. The edit score is a
mean over videos. Segmental F1 counts true and false positives of all videos together. Edit score
and F1 ignore segments labelled background.

For a video without predicted and true segments the edit score is NaN, as in that script, and so
is the mean over videos; F1 without any segments is 0. For a video with predicted but no true
segments that script fails; here each predicted segment is a false positive.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vtnstream.labels import BACKGROUND

THRESHOLDS = (0.10, 0.25, 0.50)
"""tIoU of F1@{10,25,50}."""


class Labelled(Protocol):
    """A span of time with a label: :class:`vtnstream.types.Segment` or :class:`FrameSpan`."""

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...

    @property
    def label(self) -> Hashable: ...


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """The frames ``[start, end)``, which have one label."""

    start: int
    end: int
    label: Hashable


@dataclass(frozen=True, slots=True)
class SegmentCounts:
    """Numbers of correct, wrong and missed segments; the counts of several videos can be added."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0

    def __add__(self, other: SegmentCounts) -> SegmentCounts:
        return SegmentCounts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
        )

    @property
    def f1(self) -> float:
        """F1 in percent; 0 without any true positive."""
        whole = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 100.0 * 2 * self.true_positives / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class SegmentationScores:
    """Percentages over a set of videos.

    Attributes:
        frame_accuracy: over all frames.
        edit: mean over videos; NaN if one of them has neither predicted nor true segments.
        f1: tIoU threshold -> F1.
        num_empty: number of videos with neither predicted nor true segments.
        edit_of_others: mean edit score over the other videos.
    """

    frame_accuracy: float
    edit: float
    f1: Mapping[float, float]
    num_empty: int = 0
    edit_of_others: float = math.nan


def frame_spans(
    labels: Sequence[Hashable], ignore: Collection[Hashable] = (BACKGROUND,)
) -> list[FrameSpan]:
    """Return the runs of equal labels, without the labels in ``ignore``."""
    spans: list[FrameSpan] = []
    start = 0
    for i in range(1, len(labels) + 1):
        if i == len(labels) or labels[i] != labels[start]:
            if labels[start] not in ignore:
                spans.append(FrameSpan(start, i, labels[start]))
            start = i
    return spans


def frame_accuracy(predicted: Sequence[Hashable], truth: Sequence[Hashable]) -> float:
    """Return the percentage of frames whose label is correct, background included.

    Raises:
        ValueError: there are no frames, or the two sequences differ in length.
    """
    right, count = _right_frames(predicted, truth)
    if not count:
        raise ValueError("no frames to judge")
    return 100.0 * right / count


def edit_score(predicted: Sequence[Labelled], truth: Sequence[Labelled]) -> float:
    """Return the segmental edit score: 100 x (1 - Levenshtein distance of the two label sequences /
    length of the longer). It is NaN if both are empty.

    Args:
        predicted: segments of one video in order of time, without background.
        truth: its true segments.
    """
    longer = max(len(predicted), len(truth))
    if not longer:
        return math.nan
    row = list(range(len(truth) + 1))
    for i, have in enumerate(predicted, 1):
        diagonal, row[0] = row[0], i
        for j, want in enumerate(truth, 1):
            best = diagonal if have.label == want.label else 1 + min(diagonal, row[j], row[j - 1])
            diagonal, row[j] = row[j], best
    return 100.0 * (1 - row[-1] / longer)


def match_segments(
    predicted: Sequence[Labelled], truth: Sequence[Labelled], threshold: float
) -> SegmentCounts:
    """Count the correct, wrong and missed segments of one video at one tIoU threshold.

    In order of time, each predicted segment is compared with the true segment of its label with
    the highest tIoU (the first of equal ones). It is a true positive if that reaches
    ``threshold`` and the true segment has no match yet, else a false positive. True segments
    without a match are false negatives.

    Args:
        predicted: segments of one video in order of time, without background.
        truth: its true segments.
        threshold: tIoU between 0 and 1.
    """
    starts = np.array([s.start for s in truth], np.float64)
    ends = np.array([s.end for s in truth], np.float64)
    hit = np.zeros(len(truth), bool)
    for segment in predicted:
        same = np.array([s.label == segment.label for s in truth], bool)
        if not same.any():
            continue
        shared = np.minimum(segment.end, ends) - np.maximum(segment.start, starts)
        # The hull of overlapping spans is their union; ``shared`` is negative for the others.
        union = np.maximum(segment.end, ends) - np.minimum(segment.start, starts)
        overlap = np.where(same, shared / np.where(union > 0, union, 1), -np.inf)
        best = int(overlap.argmax())
        if overlap[best] >= threshold and overlap[best] > 0:
            hit[best] = True
    hits = int(hit.sum())
    return SegmentCounts(hits, len(predicted) - hits, len(truth) - hits)


def segmentation_scores(
    videos: Iterable[tuple[Sequence[Hashable], Sequence[Hashable]]],
    *,
    ignore: Collection[Hashable] = (BACKGROUND,),
    thresholds: Sequence[float] = THRESHOLDS,
) -> SegmentationScores:
    """Return frame accuracy, edit score and F1 over videos.

    Args:
        videos: the predicted and the true label of each frame, for each video.
        ignore: labels that make no segments.
        thresholds: tIoU thresholds of F1.

    Raises:
        ValueError: there are no frames, or the two sequences of a video differ in length.
    """
    right = count = 0
    edits: list[float] = []
    totals = {threshold: SegmentCounts() for threshold in thresholds}
    for predicted, truth in videos:
        video_right, video_count = _right_frames(predicted, truth)
        right, count = right + video_right, count + video_count
        have, want = frame_spans(predicted, ignore), frame_spans(truth, ignore)
        edits.append(edit_score(have, want))
        for threshold in thresholds:
            totals[threshold] += match_segments(have, want, threshold)
    if not count:
        raise ValueError("no frames to judge")
    known = [edit for edit in edits if not math.isnan(edit)]
    return SegmentationScores(
        frame_accuracy=100.0 * right / count,
        edit=float(np.mean(edits)),
        f1={threshold: counts.f1 for threshold, counts in totals.items()},
        num_empty=len(edits) - len(known),
        edit_of_others=float(np.mean(known)) if known else math.nan,
    )


def _right_frames(predicted: Sequence[Hashable], truth: Sequence[Hashable]) -> tuple[int, int]:
    if len(predicted) != len(truth):
        raise ValueError(f"{len(predicted)} predicted labels for {len(truth)} frames")
    return sum(a == b for a, b in zip(predicted, truth, strict=True)), len(truth)
