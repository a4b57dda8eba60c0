"""Convert annotations and tokens to training samples with one class each, or one for each token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from vtnstream.datasets.annotations import AnnotatedVideo, Annotation, Time, check_overlaps
from vtnstream.errors import AnnotationError
from vtnstream.labels import BACKGROUND
from vtnstream.timecode import FrameCount
from vtnstream.training.data.features import VideoFeatures
from vtnstream.types import FeatureSequence, IndexArray, TokenTimes

IGNORE = -100
"""Target of tokens that losses ignore (the default of torch's cross-entropy)."""


Label = int | tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Tokens ``[start, stop)`` of a video with their class or targets.

    Attributes:
        video: the annotated video.
        features: normalised features of the whole video, or its frames.
        start: first token of the sample.
        stop: end of the sample's tokens.
        label: class of the sample, or None; for several class heads the class of each, as a column
            of the class logits.
        targets: (stop - start,) int64 class of each token, or None.
    """

    video: AnnotatedVideo
    features: FeatureSequence
    start: int
    stop: int
    label: Label | None = None
    targets: IndexArray | None = None

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def classes(self) -> tuple[int, ...]:
        """Its class by each class head, as columns of the class logits; empty without a label."""
        if self.label is None:
            return ()
        return self.label if isinstance(self.label, tuple) else (self.label,)


def _seconds(time: Time, item: VideoFeatures) -> Fraction:
    """Convert a time of the annotations to seconds.

    Frame numbers are looked up if the frames were counted, else converted with the header's
    rate.

    Raises:
        AnnotationError: the time is a frame number, frames were not counted, and the header states
            no rate.
    """
    if not isinstance(time, FrameCount):
        return time
    found = item.frame_seconds(time.frames)
    if found is None:
        raise AnnotationError(
            f"{item.video.path}: its frame rate is unknown, write times in seconds"
        )
    return found


def _in_seconds(item: VideoFeatures) -> list[Annotation]:
    """Return the segments of a video with all times in seconds."""
    return [
        replace(a, start=_seconds(a.start, item), end=_seconds(a.end, item))
        for a in item.video.annotations
        if a.start is not None and a.end is not None
    ]


def labelled_spans(item: VideoFeatures) -> list[tuple[float, float]]:
    """Return start and end of each annotated segment of a video, in seconds."""
    spans = []
    for segment in _in_seconds(item):
        assert isinstance(segment.start, Fraction) and isinstance(segment.end, Fraction)
        spans.append((float(segment.start), float(segment.end)))
    return spans


def _tokens_inside(times: TokenTimes, start: Fraction, end: Fraction) -> tuple[int, int]:
    """Return the range ``[first, stop)`` of tokens whose centre lies in ``[start, end)``."""
    middle = (times.start_seconds + times.end_seconds) / 2
    first, stop = np.searchsorted(middle, [float(start), float(end)], side="left")
    return int(first), int(stop)


def dense_targets(
    times: TokenTimes,
    segments: Sequence[Annotation],
    labels: Sequence[str],
    missing: str | None = BACKGROUND,
) -> IndexArray:
    """Return the class of each token by its centre; tokens without a segment have ``missing``.

    Args:
        times: T tokens.
        segments: with times in seconds, not overlapping.
        labels: labels of the dense head.
        missing: label of tokens without a segment.

    Returns:
        (T,) int64. If ``missing`` is None or not in ``labels``, tokens without a segment are
        :data:`IGNORE`.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    fallback = IGNORE if missing is None else numbers.get(missing, IGNORE)
    targets = np.full(len(times), fallback, np.int64)
    for segment in segments:
        assert isinstance(segment.start, Fraction) and isinstance(segment.end, Fraction)
        first, stop = _tokens_inside(times, segment.start, segment.end)
        targets[first:stop] = numbers[segment.label]
    return targets


def dense_samples(
    videos: Sequence[VideoFeatures], labels: Sequence[str], missing: str | None = BACKGROUND
) -> tuple[list[Sample], list[str]]:
    """Return one sample per video with a target for each token.

    ``missing`` is used as in :func:`dense_targets`.

    Returns:
        The samples, and a message for each segment without tokens or beyond the video's end.

    Raises:
        AnnotationError: segments overlap after conversion to seconds.
    """
    samples, warnings = [], []
    for item in videos:
        times = item.features.times
        segments = _in_seconds(item)
        check_overlaps(segments, str(item.video.path))
        warnings += _warnings(item, segments)
        targets = dense_targets(times, segments, labels, missing)
        samples.append(Sample(item.video, item.features, 0, len(times), targets=targets))
    return samples, warnings


def with_classes(
    samples: Sequence[Sample], classes: Mapping[Path, str], labels: Sequence[str]
) -> list[Sample]:
    """Return dense samples with the class of their whole video added.

    Args:
        samples: one per video.
        classes: class of each video.
        labels: labels of the MLP head.

    Raises:
        AnnotationError: a video has no class.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    absent = [s.video.path for s in samples if s.video.path not in classes]
    if absent:
        raise AnnotationError(
            f"{absent[0]}: has segments and no class ({len(absent)} such videos): add it to "
            "class_annotations"
        )
    return [replace(s, label=numbers[classes[s.video.path]]) for s in samples]


def class_samples(
    videos: Sequence[VideoFeatures], labels: Sequence[str]
) -> tuple[list[Sample], list[str]]:
    """Return one sample per video, or per segment if the annotations are segments, whose label is a
    position in ``labels``, or one for each of several class heads.

    Returns:
        The samples, and a message for each segment without tokens or beyond the video's end.
    """
    numbers = {label: number for number, label in enumerate(labels)}
    samples, warnings = [], []
    for item in videos:
        segments = _in_seconds(item)
        for annotation in item.video.annotations:
            if not annotation.is_segment:
                label = _label(annotation, numbers)
                whole = Sample(item.video, item.features, 0, len(item.features.times), label)
                samples.append(whole)
        warnings += _warnings(item, segments)
        for segment in segments:
            assert isinstance(segment.start, Fraction) and isinstance(segment.end, Fraction)
            first, stop = _tokens_inside(item.features.times, segment.start, segment.end)
            if stop > first:
                label = _label(segment, numbers)
                samples.append(Sample(item.video, item.features, first, stop, label))
    return samples, warnings


def _label(annotation: Annotation, numbers: Mapping[str, int]) -> Label:
    """Return the class of an annotation, or one for each of several class heads."""
    if annotation.parts:
        return tuple(numbers[part] for part in annotation.parts)
    return numbers[annotation.label]


_MAX_EXCESS_SECONDS = 2.0
"""Time by which a segment may exceed the last token without a warning."""


def _warnings(item: VideoFeatures, segments: Sequence[Annotation]) -> list[str]:
    warnings = []
    times = item.features.times
    end = times.end_seconds[-1]
    for segment in segments:
        assert isinstance(segment.start, Fraction) and isinstance(segment.end, Fraction)
        first, stop = _tokens_inside(times, segment.start, segment.end)
        if stop > first and segment.end <= end + _MAX_EXCESS_SECONDS:
            continue
        if stop > first:
            why = f"ends at {float(segment.end):.2f} s, the video at {end:.2f} s: is it right?"
        elif segment.start >= end:
            why = f"lies outside the video, which ends at {end:.2f} s"
        else:
            why = "is too short, or lies in a gap: no sampled frame falls into it"
        warnings.append(f"{item.video.path}: the segment of line {segment.line} {why}")
    return warnings


def class_counts(samples: Sequence[Sample], num_classes: int) -> IndexArray:
    """Return the (K,) int64 number of samples, or of tokens of dense samples, of each class."""
    counts = np.zeros(num_classes, np.int64)
    for sample in samples:
        if sample.targets is not None:
            counts += np.bincount(sample.targets[sample.targets >= 0], minlength=num_classes)
        elif sample.label is not None:
            counts[list(sample.classes)] += 1
    return counts
