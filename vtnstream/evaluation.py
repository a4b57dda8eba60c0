"""Evaluate reports on the annotations of a dataset, by the field's definitions.

Classes of videos: top-1 and top-5, per class, confusion, calibration. Timelines: mAP at tIoU,
frame accuracy, edit and F1@{10,25,50}, and surgical precision, recall and Jaccard per phase.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from vtnstream.datasets.annotations import AnnotatedVideo
from vtnstream.errors import AnnotationError
from vtnstream.labels import BACKGROUND, normal_form
from vtnstream.metrics.classification import (
    baseline_accuracies,
    bootstrap_interval,
    calibration_error,
    confusion_matrix,
    mean_class_accuracy,
    top_k_accuracy,
)
from vtnstream.metrics.localization import (
    ACTIVITYNET_THRESHOLDS,
    THUMOS_THRESHOLDS,
    localization_scores,
)
from vtnstream.metrics.phases import PhaseScores, phase_scores
from vtnstream.metrics.relaxed_phases import CHOLEC80_PHASES, relaxed_phase_scores
from vtnstream.metrics.segmentation import segmentation_scores
from vtnstream.timecode import FrameCount
from vtnstream.types import ClassScore, FrameIndex, Segment, VideoInfo, seconds_of_frame

FEWEST_FOR_TOP5 = 10
"""Classes from which on top-5 says something: with five, every answer is right."""

FRAMES_PER_SECOND = 10
"""Frames a second at which timelines are compared, where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One video: what was annotated and what was said of it.

    Attributes:
        video: the annotated video.
        rate: its frame rate, for annotations in frames where nothing better is known.
        seconds: its length, where the annotations do not say it.
        classes: predicted for the whole video, best first.
        segments: predicted for its parts.
        info: its header, for annotations in frames.
        frames: numbers of its frames, for the same.
        is_annotated: False for a video that the annotations do not name: its segments are false
            positives of mAP, and it has no part in other metrics.
    """

    video: AnnotatedVideo
    rate: Fraction | None = None
    seconds: float | None = None
    classes: tuple[ClassScore, ...] = ()
    segments: tuple[Segment, ...] = ()
    info: VideoInfo | None = None
    frames: FrameIndex | None = None
    is_annotated: bool = True

    def truth(self) -> list[Segment]:
        """The annotated segments in seconds, in order of time.

        Raises:
            AnnotationError: frames are given and the video's rate is unknown.
        """
        found = []
        for item in self.video.annotations:
            assert item.start is not None and item.end is not None
            found.append(
                Segment(
                    self._seconds(item.start),
                    self._seconds(item.end),
                    normal_form(item.label),
                    1.0,
                )
            )
        return sorted(found, key=lambda s: (s.start, s.end))

    def _seconds(self, time: Fraction | FrameCount) -> float:
        if not isinstance(time, FrameCount):
            return float(time)
        if self.info is not None:
            found = seconds_of_frame(time.frames, self.info, self.frames)
            if found is not None:
                return float(found)
        if not self.rate:
            raise AnnotationError(
                f"{self.video.path}: annotated in frames, and its frame rate is unknown: give it "
                "with --frame-rate"
            )
        return float(time.frames / self.rate)

    @property
    def length(self) -> float | None:
        """Seconds of the video: what the annotations say, else the video itself."""
        if self.video.length is not None:
            return self._seconds(self.video.length)
        return self.seconds


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Numbers of one evaluation.

    Attributes:
        metrics: name -> value; accuracies, F1, edit, mAP and phase scores in percent.
        intervals: name -> (low, high), 95 %, over videos, where videos are judged one by one.
        per_class: label -> name -> value.
        confusion: (K, K) counts of videos, or of frames, with its labels; row is the truth.
        notes: protocols and what was left out, in words.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    confusion: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Plain JSON data; what is no number is null."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evaluate_classes(videos: Sequence[Judged], labels: Sequence[str] = ()) -> Evaluation:
    """Classes of whole videos.

    Args:
        videos: each with one annotated class and scored classes.
        labels: all classes there are; those of the truth and of the answers are added.

    Raises:
        AnnotationError: no video, or one whose class cannot be told.
    """
    if not videos:
        raise AnnotationError("no video to evaluate")
    names = list(dict.fromkeys((*labels, *(_label(v) for v in videos))))
    names += sorted({normal_form(c.label) for v in videos for c in v.classes} - set(names))
    places = {name: number for number, name in enumerate(names)}
    scores = np.zeros((len(videos), len(names)))
    for row, video in enumerate(videos):
        if not video.classes:
            raise AnnotationError(f"{video.video.path}: no classes were predicted for it")
        for item in video.classes:
            scores[row, places[normal_form(item.label)]] = item.score
    targets = np.array([places[_label(v)] for v in videos], np.int64)
    predictions = scores.argmax(1).astype(np.int64)
    confusion = confusion_matrix(targets, predictions, len(names))
    right = (predictions == targets).astype(float)
    span = bootstrap_interval(right.tolist())
    whole = np.abs(scores.sum(1) - 1).max() < 1e-3
    metrics = {
        "top1": 100 * top_k_accuracy(scores, targets, 1),
        "mean_class_accuracy": 100 * mean_class_accuracy(confusion),
    }
    if len(names) >= FEWEST_FOR_TOP5:
        metrics["top5"] = 100 * top_k_accuracy(scores, targets, 5)
    metrics["majority"], metrics["chance"] = (100 * x for x in baseline_accuracies(confusion))
    if whole:
        metrics["calibration_error"] = 100 * calibration_error(scores, targets)
    return Evaluation(
        metrics=metrics,
        intervals={"top1": (100 * span.low, 100 * span.high)},
        per_class={
            name: {"videos": int(count), "accuracy": 100 * float(confusion[i, i]) / count}
            for i, name in enumerate(names)
            if (count := int(confusion[i].sum()))
        },
        confusion={"labels": names, "counts": confusion.tolist()},
        notes=() if whole else ("scores are no probabilities of all classes: no calibration",),
    )


def _label(judged: Judged) -> str:
    labels = {normal_form(annotation.label) for annotation in judged.video.annotations}
    if len(labels) != 1:
        raise AnnotationError(f"{judged.video.path}: {len(labels)} classes for one video")
    return labels.pop()


def evaluate_segments(
    videos: Sequence[Judged],
    *,
    frames_per_second: float = FRAMES_PER_SECOND,
    phases: bool = False,
    unlabelled: str = "background",
) -> Evaluation:
    """Timelines.

    Args:
        videos: each with annotated and predicted segments, in the order of the predictions.
        frames_per_second: at which frame-wise metrics look.
        phases: surgical metrics as well.
        unlabelled: frames without a true segment are ``background``, or left out of frame-wise
            metrics (``ignore``).

    Raises:
        AnnotationError: no video, or no true segment but ``background``.
    """
    pairs = [
        ([replace(s, label=normal_form(s.label)) for s in v.segments], v.truth()) for v in videos
    ]
    if not any(s.label != BACKGROUND for _, truth in pairs for s in truth):
        raise AnnotationError("no annotated segment to evaluate")
    activitynet = localization_scores(pairs, thresholds=ACTIVITYNET_THRESHOLDS)
    thumos = localization_scores(pairs, thresholds=THUMOS_THRESHOLDS)
    metrics = {
        "mAP@.5:.95": 100 * activitynet.average,
        "mAP@.3:.7": 100 * thumos.average,
        **{f"mAP@{t:g}": 100 * thumos.mean[t] for t in THUMOS_THRESHOLDS},
    }
    per_class: dict[str, dict[str, float]] = {
        str(label): {"AP@.5": 100 * row[0.5]} for label, row in thumos.average_precision.items()
    }
    notes = ["mAP as ActivityNet's script counts it, over the classes of the truth"]
    if any(_overlap(truth) for _, truth in pairs):
        notes.append("true segments overlap: no frame-wise metrics")
        return Evaluation(metrics=metrics, per_class=per_class, notes=tuple(notes))
    rate = frames_per_second
    ignore = unlabelled == "ignore"
    frames = [
        _frames(v, *pair, rate, ignore)
        for v, pair in zip(videos, pairs, strict=True)
        if v.is_annotated
    ]
    left_out = "; frames without a label are left out" if ignore else ""
    notes.append(f"frame-wise metrics at {rate:g} frames/s, as MS-TCN's script counts{left_out}")
    notes += _add_segmentation(frames, metrics)
    confusion = _add_frames(frames, metrics, per_class)
    if phases:
        notes += _add_phases(frames, rate, metrics, per_class)
    return Evaluation(metrics=metrics, per_class=per_class, confusion=confusion, notes=tuple(notes))


Frames = Sequence[tuple[list[str], list[str]]]
"""For each video the predicted and the true labels of its frames."""


def _add_segmentation(frames: Frames, metrics: dict[str, float]) -> list[str]:
    """Frame accuracy, edit and F1 into the table; returns what needs saying of them."""
    found = segmentation_scores(frames)
    metrics["frame_accuracy"] = found.frame_accuracy
    metrics["edit"] = found.edit
    metrics |= {f"F1@{round(100 * t)}": value for t, value in found.f1.items()}
    if not found.num_empty:
        return []
    metrics["edit_of_others"] = found.edit_of_others
    return [
        f"edit is not a number, as with MS-TCN's script: in {found.num_empty} of {len(frames)} "
        "videos neither truth nor prediction has a segment; edit_of_others leaves them out"
    ]


def _add_frames(
    frames: Frames, metrics: dict[str, float], per_class: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """Mean over the classes, majority and chance of frames into the tables; returns their
    confusion with its labels."""
    truth = [label for _, labels in frames for label in labels]
    said = [label for labels, _ in frames for label in labels]
    if not truth:
        return {}
    names = sorted({*truth, *said}, key=lambda label: (label != BACKGROUND, label))
    places = {name: number for number, name in enumerate(names)}
    confusion = confusion_matrix(
        np.array([places[label] for label in truth], np.int64),
        np.array([places[label] for label in said], np.int64),
        len(names),
    )
    metrics["mean_class_frame_accuracy"] = 100 * mean_class_accuracy(confusion)
    metrics["majority"], metrics["chance"] = (100 * x for x in baseline_accuracies(confusion))
    for number, name in enumerate(names):
        count = int(confusion[number].sum())
        if count and name != BACKGROUND:
            row = per_class.setdefault(name, {})
            row["frames"] = count
            row["frame accuracy"] = 100 * float(confusion[number, number]) / count
    return {"labels": names, "counts": confusion.tolist()}


def _add_phases(
    frames: Frames, rate: float, metrics: dict[str, float], per_class: dict[str, dict[str, float]]
) -> list[str]:
    """Surgical metrics into the tables; returns how they were made."""
    found = phase_scores(frames)
    _add_spreads(found, "phase", metrics)
    for label, spreads in found.per_phase.items():
        row = per_class.setdefault(str(label), {})
        for name, spread in zip(("precision", "recall", "jaccard"), spreads, strict=True):
            row[name] = spread.mean
    notes = [f"phases: {found.protocol}"]
    if {label for _, truth in frames for label in truth} - {BACKGROUND} <= set(CHOLEC80_PHASES):
        relaxed = relaxed_phase_scores(frames, rate)
        _add_spreads(relaxed, "phase_relaxed", metrics)
        for label, (_, _, jaccard) in relaxed.per_phase.items():
            per_class[str(label)]["relaxed_jaccard"] = jaccard.mean
        notes.append(f"phase_relaxed: {relaxed.protocol}")
    else:
        notes.append("phase_relaxed is left out: its rules are about the phases of Cholec80")
    notes.append("deviations: of the population; sample_deviation as MATLAB's std")
    return notes


def _add_spreads(found: PhaseScores, prefix: str, metrics: dict[str, float]) -> None:
    for name in ("accuracy", "precision", "recall", "jaccard"):
        spread = getattr(found, name)
        metrics[f"{prefix}_{name}"] = spread.mean
        metrics[f"{prefix}_{name}_deviation"] = spread.deviation
        metrics[f"{prefix}_{name}_sample_deviation"] = spread.sample_deviation


def _overlap(segments: Sequence[Segment]) -> bool:
    return any(b.start < a.end - 1e-9 for a, b in pairwise(segments))


def _frames(
    judged: Judged,
    predicted: Sequence[Segment],
    truth: Sequence[Segment],
    rate: float,
    ignore: bool = False,
) -> tuple[list[str], list[str]]:
    """Predicted and true labels in the middle of each frame of the comparison; with ``ignore``
    only of frames inside a true segment."""
    end = judged.length or max([s.end for s in (*truth, *predicted)], default=0.0)
    times = (np.arange(max(round(end * rate), 1)) + 0.5) / rate
    if ignore:
        known = np.zeros(len(times), bool)
        for segment in truth:
            known |= (times >= segment.start) & (times < segment.end)
        times = times[known]
    return _at(predicted, times), _at(truth, times)


def _at(segments: Sequence[Segment], times: np.ndarray[Any, Any]) -> list[str]:
    """The label at each time; where several lie, that of the highest score."""
    labels = [BACKGROUND] * len(times)
    for segment in sorted(segments, key=lambda s: s.score):
        first, stop = np.searchsorted(times, [segment.start, segment.end], side="left")
        labels[first:stop] = [segment.label] * int(stop - first)
    return labels
