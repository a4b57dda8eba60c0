"""Targets follow from annotations by the centre of each token, in exact time."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.report.cases import VIDEO
from tests.training.cases import features, times
from vtnstream.datasets.annotations import AnnotatedVideo, Annotation
from vtnstream.errors import AnnotationError
from vtnstream.timecode import FrameCount
from vtnstream.training.data.features import VideoFeatures
from vtnstream.training.data.targets import (
    IGNORE,
    class_counts,
    class_samples,
    dense_samples,
    dense_targets,
)
from vtnstream.types import Features, FrameIndex, FrameRun, TokenTimes

LABELS = ("background", "a", "b")


def span(start: str, end: str, label: str, line: int = 2) -> Annotation:
    return Annotation(label, Fraction(start), Fraction(end), line)


def item(*annotations: Annotation, count: int = 10, rate: Fraction | None = None) -> VideoFeatures:
    info = replace(VIDEO, average_rate=rate, start_seconds=Fraction(0))
    return VideoFeatures(AnnotatedVideo(Path("v.mp4"), annotations), features(count), info)


def test_a_token_belongs_to_the_segment_at_its_centre() -> None:
    tokens = times(8)  # half a second each: midpoints .25, .75 ...
    got = dense_targets(tokens, [span("0.25", "1.25", "a"), span("1.25", "3.76", "b")], LABELS)
    assert got.tolist() == [1, 1, 2, 2, 2, 2, 2, 2]
    assert dense_targets(tokens, [span("0.26", "0.75", "a")], LABELS).tolist() == [0] * 8


def test_without_a_background_class_other_tokens_are_ignored() -> None:
    got = dense_targets(times(4), [span("0.5", "1", "b")], ("a", "b"))
    assert got.tolist() == [IGNORE, 1, IGNORE, IGNORE]


def test_targets_are_correct_across_gaps_and_uneven_tokens() -> None:
    gap = times(20, missing=tuple(range(4, 16)))
    got = dense_targets(gap, [span("1", "8.5", "a"), span("8.5", "20", "b")], LABELS)
    assert got.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    uneven = TokenTimes(
        np.arange(3), np.arange(3), np.array([0.0, 1.0, 9.0]), np.array([1.0, 9.0, 10.0])
    )
    assert dense_targets(uneven, [span("0", "5", "a")], LABELS).tolist() == [1, 0, 0]
    assert dense_targets(uneven, [span("0", "5.1", "a")], LABELS).tolist() == [1, 1, 0]


def test_frame_numbers_are_converted_with_the_rate() -> None:
    framed = Annotation("a", FrameCount(60), FrameCount(90), 2)
    samples, warnings = dense_samples([item(framed, rate=Fraction(30))], LABELS)
    assert samples[0].targets is not None
    assert samples[0].targets.tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert not warnings
    with pytest.raises(AnnotationError, match=r"v\.mp4: its frame rate is unknown"):
        dense_samples([item(framed)], LABELS)
    clash = item(framed, span("2.5", "4", "b", 3), rate=Fraction(30))
    with pytest.raises(AnnotationError, match="lines 2 and 3 overlap"):
        dense_samples([clash], LABELS)


def test_frame_numbers_are_looked_up_if_frames_were_counted() -> None:
    runs = (FrameRun(0, 30, 0, 29 * 3000), FrameRun(30, 60, 180_000, 180_000 + 59 * 3000))
    framed = Annotation("a", FrameCount(30), FrameCount(90), 2)
    one = replace(item(framed, rate=Fraction(30)), frames=FrameIndex(runs))
    samples, _ = dense_samples([one], LABELS)  # frame 30 is shown at 2 s, the last ends at 4 s
    assert samples[0].targets is not None
    assert samples[0].targets.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 0, 0]


def test_segments_without_tokens_give_a_warning() -> None:
    lost = item(span("0", "1", "a"), span("7", "9", "a", 3), span("3.3", "3.4", "b", 4))
    _, warnings = dense_samples([lost], LABELS)
    assert len(warnings) == 2
    assert "line 3 lies outside the video, which ends at 5.00 s" in warnings[0]
    assert "line 4 is too short" in warnings[1]
    samples, again = class_samples([lost], ("a", "b"))
    assert again == warnings
    assert [(s.start, s.stop, s.label) for s in samples] == [(0, 2, 0)]


def test_a_segment_beyond_the_end_of_the_video_gives_a_warning() -> None:
    """A typing error of minutes gives a warning, the rounding of a second does not."""
    assert dense_samples([item(span("0", "6", "a"))], LABELS)[1] == []
    _, warnings = dense_samples([item(span("0", "1", "a"), span("1", "50", "b", 7))], LABELS)
    assert len(warnings) == 1
    assert "line 7 ends at 50.00 s, the video at 5.00 s" in warnings[0]


def test_class_samples_cover_whole_videos() -> None:
    one = item(Annotation("b", line=2))
    samples, warnings = class_samples([one], ("a", "b"))
    assert [(s.start, s.stop, s.label) for s in samples] == [(0, 10, 1)]
    assert not warnings


def test_classes_are_counted() -> None:
    dense = dense_samples([item(span("0", "1", "a"))], LABELS)[0]
    assert class_counts(dense, 3).tolist() == [8, 2, 0]
    ignored = [replace(dense[0], targets=np.full(10, IGNORE))]
    assert class_counts(ignored, 3).tolist() == [0, 0, 0]
    classes = class_samples([item(Annotation("b", line=2))] * 3, ("a", "b"))[0]
    assert class_counts(classes, 2).tolist() == [0, 3]
    assert isinstance(classes[0].features, Features)
