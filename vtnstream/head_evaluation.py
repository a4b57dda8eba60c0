"""Evaluate models with several class heads, such as verb and noun, as EPIC-Kitchens does.

A video, or an annotated segment of one, has one class by each head. Its combination (``action``) is
right if all are; combinations are ranked by the product of the probabilities of their classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from vtnstream.config.class_heads import JOINT, SEPARATOR, full_label
from vtnstream.errors import AnnotationError
from vtnstream.evaluation import MIN_CLASSES_FOR_TOP5, EvaluatedVideo, Evaluation
from vtnstream.labels import normal_form
from vtnstream.metrics.classification import (
    bootstrap_interval,
    confusion_matrix,
    joint_top_k_accuracy,
    mean_class_accuracy,
    top_k_accuracy,
)
from vtnstream.types import FloatArray, IndexArray


def evaluate_heads(samples: Sequence[EvaluatedVideo], heads: Sequence[str]) -> Evaluation:
    """Evaluate the classes by each of several heads, and their combinations.

    Args:
        samples: videos or segments, each with one annotation and its classes by each head.
        heads: names of the heads, in the order of the annotations.

    Raises:
        AnnotationError: there is no sample, or one lacks predicted classes of a head.
    """
    if not samples:
        raise AnnotationError("no video to evaluate")
    metrics: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    per_class: dict[str, dict[str, float]] = {}
    tables = [_table(samples, heads, number) for number in range(len(heads))]
    scores = [table[0] for table in tables]
    targets = np.stack([table[1] for table in tables], axis=1)  # (N, H)
    predictions = np.stack([part.argmax(1) for part in scores], axis=1).astype(np.int64)
    right = predictions == targets
    metrics[f"{JOINT}_top1"] = 100 * joint_top_k_accuracy(scores, targets, 1)
    if np.prod([part.shape[1] for part in scores]) >= MIN_CLASSES_FOR_TOP5:
        metrics[f"{JOINT}_top5"] = 100 * joint_top_k_accuracy(scores, targets, 5)
    intervals[f"{JOINT}_top1"] = _interval(right.all(1))
    for number, (head, (_, _, names)) in enumerate(zip(heads, tables, strict=True)):
        confusion = confusion_matrix(targets[:, number], predictions[:, number], len(names))
        metrics[f"{head}_top1"] = 100 * top_k_accuracy(scores[number], targets[:, number], 1)
        if len(names) >= MIN_CLASSES_FOR_TOP5:
            metrics[f"{head}_top5"] = 100 * top_k_accuracy(scores[number], targets[:, number], 5)
        metrics[f"{head}_mean_class_accuracy"] = 100 * mean_class_accuracy(confusion)
        intervals[f"{head}_top1"] = _interval(right[:, number])
        for place, name in enumerate(names):
            if count := int(confusion[place].sum()):
                row = {"samples": count, "accuracy": 100 * float(confusion[place, place]) / count}
                per_class[full_label(head, name)] = row
    frequent = Counter(map(tuple, targets.tolist()))
    metrics[f"{JOINT}_majority"] = 100 * max(frequent.values()) / len(samples)
    metrics[f"{JOINT}_chance"] = 100 / len(frequent)
    note = f"{JOINT}: all of {', '.join(heads)} right; ranked by the product of their probabilities"
    return Evaluation(metrics=metrics, intervals=intervals, per_class=per_class, notes=(note,))


def _table(
    samples: Sequence[EvaluatedVideo], heads: Sequence[str], number: int
) -> tuple[FloatArray, IndexArray, list[str]]:
    """Return scores (N, K), true classes (N,) and the K classes of one head."""
    head = heads[number]
    truth = [_true_label(sample, head, number) for sample in samples]
    said = []
    for sample in samples:
        classes = next((one.classes for one in sample.heads if one.name == head), ())
        if not classes:
            raise AnnotationError(f"{sample.video.path}: no {head} was predicted for it")
        said.append({normal_form(item.label): item.score for item in classes})
    names = sorted({*truth, *(label for row in said for label in row)})
    places = {name: place for place, name in enumerate(names)}
    scores = np.zeros((len(samples), len(names)), np.float32)
    for row, labels in enumerate(said):
        for label, score in labels.items():
            scores[row, places[label]] = score
    return scores, np.array([places[label] for label in truth], np.int64), names


def _true_label(sample: EvaluatedVideo, head: str, number: int) -> str:
    parts = [annotation.parts for annotation in sample.video.annotations]
    if len(parts) != 1 or len(parts[0]) <= number:
        raise AnnotationError(f"{sample.video.path}: needs one annotation with a {head}")
    return normal_form(parts[0][number].partition(SEPARATOR)[2])


def _interval(right: np.ndarray) -> tuple[float, float]:
    span = bootstrap_interval(right.astype(float).tolist())
    return 100 * span.low, 100 * span.high
