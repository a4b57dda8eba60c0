"""Evaluate reports against the annotations of a dataset, by the field's definitions.

Whole-video classes: top-1, top-5, accuracy per class, confusion matrix and calibration error.
Timelines: mAP over tIoU thresholds, frame accuracy, edit score, F1@{10,25,50}, and precision,
recall and Jaccard per surgical phase.
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
from vtnstream.metrics.compared_frames import ComparedFrames, compare_frames, coverage_note
from vtnstream.metrics.localization import (
    ACTIVITYNET_THRESHOLDS,
    THUMOS_THRESHOLDS,
    localization_scores,
)
from vtnstream.metrics.phases import PhaseScores, phase_scores
from vtnstream.metrics.relaxed_phases import CHOLEC80_PHASES, relaxed_phase_scores
from vtnstream.metrics.segmentation import segmentation_scores
from vtnstream.timecode import FrameCount
from vtnstream.types import (
    ClassScore,
    FrameIndex,
    HeadClasses,
    Segment,
    VideoInfo,
    seconds_of_frame,
)

MIN_CLASSES_FOR_TOP5 = 10
"""Number of classes from which top-5 is reported; with five classes it is always 100 %."""

FRAMES_PER_SECOND = 10
"""Default rate, in frames per second, at which timelines are compared."""

NO_ANSWER = "no answer"
"""Label in a confusion matrix of frames inside a timeline of a model without the class
``background`` that are in none of its segments, as scores are below a threshold."""


@dataclass(frozen=True, slots=True)
class EvaluatedVideo:
    """Annotation and prediction of one video.

    Attributes:
        video: the annotated video.
        rate: frame rate, which converts annotations in frames if ``info`` is not known.
        seconds: length, used if the annotations do not state one.
        classes: predicted classes of the whole video, best first.
        segments: predicted segments.
        info: stream properties, which convert annotations in frames.
        frames: frame index, which converts annotations in frames of variable-rate video.
        is_annotated: False for a video without annotations: its segments are false positives of
            mAP, and other metrics leave it out.
        heads: predicted classes by each of several class heads.
        covered: spans ``[start, end)`` in seconds that the timeline answers; None if that is not
            known, and then a time outside all segments counts as ``background``.
    """

    video: AnnotatedVideo
    rate: Fraction | None = None
    seconds: float | None = None
    classes: tuple[ClassScore, ...] = ()
    segments: tuple[Segment, ...] = ()
    info: VideoInfo | None = None
    frames: FrameIndex | None = None
    is_annotated: bool = True
    heads: tuple[HeadClasses, ...] = ()
    covered: tuple[tuple[float, float], ...] | None = None

    def truth(self) -> list[Segment]:
        """Return the annotated segments in seconds, in order of time.

        Raises:
            AnnotationError: the annotations are in frames, and the video's frame rate is unknown.
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
        """Length in seconds, from the annotations if they state it, else ``seconds``."""
        if self.video.length is not None:
            return self._seconds(self.video.length)
        return self.seconds

    def compare(self, predicted: Sequence[Segment], rate: float, ignore: bool) -> ComparedFrames:
        """Return labels of frames, of segments ``predicted`` and of the annotations."""
        truth = self.truth()
        end = self.length or max([s.end for s in (*truth, *predicted)], default=0.0)
        return compare_frames(end, predicted, truth, rate, ignore=ignore, covered=self.covered)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Numbers of one evaluation.

    Attributes:
        metrics: name -> value; accuracies, F1, edit, mAP and phase scores are percentages.
        intervals: name -> (low, high), the 95 % interval over videos, for metrics that are means
            over videos.
        per_class: label -> name -> value.
        confusion: ``counts`` (K, K) of videos or frames, and the K ``labels``; row is the true
            class.
        notes: protocols used and metrics left out, in words.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    confusion: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return plain JSON data, in which numbers that are not finite are null."""
        plain: dict[str, Any] = _plain(dataclasses.asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def evaluate_classes(videos: Sequence[EvaluatedVideo], labels: Sequence[str] = ()) -> Evaluation:
    """Evaluate whole-video classification.

    Args:
        videos: each with one annotated class and scored classes.
        labels: all known classes; annotated and predicted ones are added.

    Raises:
        AnnotationError: there is no video, a video has no predicted classes, or it is annotated
            with none or several classes.
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
    if len(names) >= MIN_CLASSES_FOR_TOP5:
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


def _label(evaluated: EvaluatedVideo) -> str:
    labels = {normal_form(annotation.label) for annotation in evaluated.video.annotations}
    if len(labels) != 1:
        raise AnnotationError(f"{evaluated.video.path}: {len(labels)} classes for one video")
    return labels.pop()


def evaluate_segments(
    videos: Sequence[EvaluatedVideo],
    *,
    frames_per_second: float = FRAMES_PER_SECOND,
    phases: bool = False,
    unlabelled: str = "background",
) -> Evaluation:
    """Evaluate timelines.

    Args:
        videos: each with annotated and predicted segments, in the order of the prediction file.
        frames_per_second: rate at which frame-wise metrics sample the timelines.
        phases: also compute the metrics of surgical phases.
        unlabelled: frames outside all true segments count as ``background``, or frame-wise metrics
            leave them out (``ignore``). Frames that a timeline does not cover are left out, too.

    Raises:
        AnnotationError: there is no true segment other than ``background``, or the timelines cover
            none of them.
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
    compared = [
        v.compare(said, rate, ignore)
        for v, (said, _) in zip(videos, pairs, strict=True)
        if v.is_annotated
    ]
    frames = [(each.predicted, each.truth) for each in compared]
    if not any(truth for _, truth in frames):
        raise AnnotationError("the timelines cover no annotated frame")
    left_out = "; frames without a label are left out" if ignore else ""
    notes.append(f"frame-wise metrics at {rate:g} frames/s, as MS-TCN's script counts{left_out}")
    if missing := coverage_note(compared, rate):
        notes.append(missing)
        metrics["seconds_not_covered"] = sum(each.not_covered for each in compared) / rate
    notes += _add_segmentation(frames, metrics)
    confusion = _add_frames(frames, metrics, per_class, ignore)
    if phases:
        notes += _add_phases(frames, rate, metrics, per_class)
    return Evaluation(metrics=metrics, per_class=per_class, confusion=confusion, notes=tuple(notes))


Frames = Sequence[tuple[list[str], list[str]]]
"""The predicted and the true label of each frame, for each video."""


def _add_segmentation(frames: Frames, metrics: dict[str, float]) -> list[str]:
    """Add frame accuracy, edit score and F1 to ``metrics``; return notes about them."""
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
    frames: Frames,
    metrics: dict[str, float],
    per_class: dict[str, dict[str, float]],
    ignore: bool,
) -> dict[str, Any]:
    """Add mean class accuracy, baselines and per-class accuracy of frames to the tables; return the
    confusion matrix with its labels. With ``ignore`` there is no class ``background``, and a frame
    below a threshold has no answer."""
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
    if ignore and BACKGROUND not in truth:
        names = [NO_ANSWER if name == BACKGROUND else name for name in names]
    return {"labels": names, "counts": confusion.tolist()}


def _add_phases(
    frames: Frames, rate: float, metrics: dict[str, float], per_class: dict[str, dict[str, float]]
) -> list[str]:
    """Add the metrics of surgical phases to the tables; return notes about their protocols."""
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
