"""Metrics of predictions with known errors, compared with values computed by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from vtnstream.datasets.lines import AnnotatedVideo, Annotation
from vtnstream.errors import AnnotationError, ReportError
from vtnstream.evaluation import EvaluatedVideo, evaluate_classes, evaluate_segments
from vtnstream.predictions import read_predictions
from vtnstream.report.writers.structured import report_json, report_json_lines
from vtnstream.timecode import FrameCount
from vtnstream.types import ClassScore, Partial, Segment

from .report.cases import report


def clip(name: str, label: str, **scores: float) -> EvaluatedVideo:
    ranked = sorted(scores.items(), key=lambda item: -item[1])
    video = AnnotatedVideo(Path(name), (Annotation(label),))
    return EvaluatedVideo(video, classes=tuple(ClassScore(k, v) for k, v in ranked))


def test_class_metrics_equal_hand_computed_values() -> None:
    got = evaluate_classes(
        [
            clip("1", "a", a=0.8, b=0.1, c=0.1),
            clip("2", "a", a=0.2, b=0.5, c=0.3),
            clip("3", "b", a=0.1, b=0.9, c=0.0),
            clip("4", "b", a=0.1, b=0.6, c=0.3),
        ]
    )
    assert got.metrics["top1"] == 75
    assert "top5" not in got.metrics  # always 100 % with so few classes
    assert got.metrics["mean_class_accuracy"] == 75
    assert got.per_class["a"] == {"videos": 2, "accuracy": 50.0}
    assert got.confusion["counts"][0][:2] == [1, 1]
    low, high = got.intervals["top1"]
    assert low < 75 < high
    # In bins of .5, .6, .8 and .9: |0 - .5|, |1 - .6|, |1 - .8|, |1 - .9| over four videos.
    assert got.metrics["calibration_error"] == pytest.approx(100 * (0.5 + 0.4 + 0.2 + 0.1) / 4)
    json.dumps(got.document(), allow_nan=False)


def test_truncated_scores_have_no_calibration_error() -> None:
    got = evaluate_classes([clip("1", "a", a=0.5)])
    assert "calibration_error" not in got.metrics
    assert "no calibration" in got.notes[0]


def timeline(
    truth: list[tuple[float, float, str]], said: list[Segment], end: float
) -> EvaluatedVideo:
    items = tuple(Annotation(x, Fraction(a), Fraction(b)) for a, b, x in truth)
    return EvaluatedVideo(AnnotatedVideo(Path("v.mp4"), items), None, end, (), tuple(said))


def test_timeline_metrics_equal_hand_computed_values() -> None:
    truth = [(0.0, 10.0, "x"), (10.0, 20.0, "y")]
    said = [Segment(0, 12, "x", 0.9), Segment(12, 20, "y", 0.8)]
    got = evaluate_segments([timeline(truth, said, 20.0)], phases=True)
    assert got.metrics["frame_accuracy"] == pytest.approx(90)
    assert got.metrics["edit"] == 100
    assert got.metrics["F1@50"] == 100
    assert got.metrics["mAP@0.5"] == 100
    assert got.metrics["mAP@.5:.95"] == pytest.approx(100 * 7 / 10)  # both at most .8 and .833
    assert got.metrics["phase_precision"] == pytest.approx((100 * 10 / 12 + 100) / 2)
    assert got.per_class["y"]["recall"] == pytest.approx(80)
    assert any("strict" in note for note in got.notes)


def test_unlabelled_frames_are_left_out_on_request() -> None:
    truth = [(0.0, 10.0, "x"), (15.0, 20.0, "y")]
    said = [Segment(0, 12, "x", 0.9), Segment(12, 20, "y", 0.8)]
    evaluated = [timeline(truth, said, 20.0)]
    assert evaluate_segments(evaluated).metrics["frame_accuracy"] == pytest.approx(75)
    got = evaluate_segments(evaluated, unlabelled="ignore")
    assert got.metrics["frame_accuracy"] == 100
    assert any("without a label are left out" in note for note in got.notes)


def test_frames_after_the_last_token_are_no_errors_of_a_class_that_does_not_exist() -> None:
    # At 2 frames/s the last token of a video of 1.833 s ends with its frame at 1.533 s.
    truth = [(0.0, 1.0, "upright"), (1.0, 1.833, "lying")]
    said = [Segment(0, 1.0, "upright", 0.9), Segment(1.0, 1.533, "lying", 0.8)]
    short = timeline(truth, said, 1.833)
    unknown = evaluate_segments([short], unlabelled="ignore")
    assert unknown.metrics["frame_accuracy"] == pytest.approx(100 * 15 / 18)
    got = evaluate_segments([replace(short, covered=((0.0, 1.533),))] * 2, unlabelled="ignore")
    assert got.metrics["frame_accuracy"] == 100
    assert got.per_class["lying"]["frames"] == 2 * 5  # of 2 x 8
    assert got.confusion == {"labels": ["lying", "upright"], "counts": [[10, 0], [0, 20]]}
    assert got.metrics["seconds_not_covered"] == pytest.approx(0.6)
    assert any("0.6 s of 3.6 s (16.7%), in 2 of 2 videos, at most 0.3 s" in n for n in got.notes)
    # Also with a class background, a moment that was not looked at is no background.
    got = evaluate_segments([replace(short, covered=((0.0, 1.533),))])
    assert got.metrics["frame_accuracy"] == 100


def test_frames_below_a_threshold_count_as_not_answered() -> None:
    truth = [(0.0, 1.0, "a"), (1.0, 2.0, "b")]
    said = timeline(truth, [Segment(0, 1.0, "a", 0.9)], 2.0)
    got = evaluate_segments([replace(said, covered=((0.0, 2.0),))], unlabelled="ignore")
    assert got.metrics["frame_accuracy"] == 50
    assert got.confusion["labels"] == ["no answer", "a", "b"]
    assert got.confusion["counts"] == [[0, 0, 0], [0, 10, 0], [10, 0, 0]]
    assert "seconds_not_covered" not in got.metrics


def test_timelines_that_cover_no_annotated_frame_are_refused() -> None:
    video = replace(timeline([(5.0, 6.0, "a")], [], 6.0), covered=((0.0, 4.0),))
    with pytest.raises(AnnotationError, match="cover no annotated frame"):
        evaluate_segments([video], unlabelled="ignore")


def test_a_report_covers_its_range_without_the_gaps() -> None:
    gaps = ((0.0, 1.0), (4.0, 5.0), (9.0, 11.0))
    partial = Partial(("damage",), 6.0, 11.0, gaps)
    got = replace(report(), start_seconds=1.0, end_seconds=9.0, partial=partial)
    assert got.covered == ((1.0, 4.0), (5.0, 9.0))
    assert replace(got, partial=None).covered == ((1.0, 9.0),)
    assert replace(got, partial=None, start_seconds=0.0, end_seconds=0.0).covered == ()


def test_overlapping_truth_has_no_frame_wise_metrics() -> None:
    truth = [(0.0, 10.0, "x"), (5.0, 20.0, "y")]
    got = evaluate_segments([timeline(truth, [Segment(0, 10, "x", 1)], 20.0)])
    assert "frame_accuracy" not in got.metrics
    assert got.metrics["mAP@0.5"] == 50


def test_videos_without_segments_and_unknown_ones_count() -> None:
    evaluated = [
        timeline([(0.0, 10.0, "x")], [Segment(0, 10, "x", 0.5)], 10.0),
        timeline([], [Segment(0, 5, "x", 0.9)], 10.0),
    ]
    got = evaluate_segments(evaluated)
    assert got.metrics["mAP@0.5"] == 50
    assert got.metrics["frame_accuracy"] == pytest.approx(75)
    assert got.metrics["F1@50"] == pytest.approx(200 / 3)
    stranger = replace(evaluated[1], is_annotated=False)
    got = evaluate_segments([evaluated[0], stranger])
    assert got.metrics["mAP@0.5"] == 50 and got.metrics["frame_accuracy"] == 100


def test_background_is_no_class_of_map() -> None:
    truth = [(0.0, 10.0, "x"), (10.0, 20.0, "background")]
    said = [Segment(0, 10, "x", 0.9), Segment(10, 20, "background", 0.8)]
    got = evaluate_segments([timeline(truth, said, 20.0)])
    assert list(got.per_class) == ["x"] and got.metrics["mAP@0.5"] == 100
    with pytest.raises(AnnotationError, match="no annotated segment"):
        evaluate_segments([timeline(truth[1:], said, 20.0)])


def test_a_note_says_that_a_video_is_empty_on_both_sides() -> None:
    evaluated = [
        timeline([(0.0, 10.0, "x")], [Segment(0, 10, "x", 1)], 10.0),
        timeline([], [], 5.0),
    ]
    got = evaluate_segments(evaluated)
    assert math.isnan(got.metrics["edit"]) and got.metrics["edit_of_others"] == 100
    assert any("1 of 2 videos neither" in note for note in got.notes)
    assert got.document()["metrics"]["edit"] is None


def test_phases_strict_and_relaxed_with_both_deviations() -> None:
    names = ("Preparation", "CalotTriangleDissection")
    truth = [(0.0, 30.0, names[0]), (30.0, 60.0, names[1])]
    late = [Segment(0, 35, names[0], 1), Segment(35, 60, names[1], 1)]
    exact = [Segment(0, 30, names[0], 1), Segment(30, 60, names[1], 1)]
    evaluated = [timeline(truth, late, 60.0), timeline(truth, exact, 60.0)]
    got = evaluate_segments(evaluated, phases=True).metrics
    assert got["phase_accuracy"] == pytest.approx((100 + 100 * 55 / 60) / 2)
    assert got["phase_relaxed_accuracy"] == 100
    assert got["phase_accuracy_sample_deviation"] == pytest.approx(
        got["phase_accuracy_deviation"] * 2**0.5
    )
    other = evaluate_segments([timeline([(0.0, 9.0, "x")], [], 9.0)], phases=True)
    assert "phase_relaxed_accuracy" not in other.metrics
    assert any("phase_relaxed is left out" in note for note in other.notes)


def test_the_annotated_length_limits_the_comparison() -> None:
    item = Annotation("x", FrameCount(0), FrameCount(30))
    video = AnnotatedVideo(Path("v.mp4"), (item,), length=FrameCount(60))
    evaluated = EvaluatedVideo(video, Fraction(15), 99.0, (), (Segment(0, 2, "x", 1.0),))
    assert evaluated.length == 4
    assert evaluate_segments([evaluated], frames_per_second=15).metrics["frame_accuracy"] == 100


def test_annotations_in_frames_need_a_rate() -> None:
    item = Annotation("x", FrameCount(0), FrameCount(50))
    video = AnnotatedVideo(Path("v.mp4"), (item,))
    said = (Segment(0, 2, "x", 1.0),)
    evaluated = EvaluatedVideo(video, Fraction(25), 2.0, (), said)
    assert evaluate_segments([evaluated]).metrics["frame_accuracy"] == 100
    with pytest.raises(AnnotationError, match="frame rate is unknown"):
        evaluate_segments([EvaluatedVideo(video, None, 2.0, (), said)])


@pytest.mark.parametrize("kind", ["folder", "document", "array", "lines"])
def test_own_reports_are_read(tmp_path: Path, kind: str) -> None:
    one, two = report(input="/films/one.mkv"), report(input="two.mp4", segments=())
    if kind == "folder":
        path = tmp_path
        (tmp_path / "one.json").write_text(report_json(one))
        (tmp_path / "two.json").write_text(report_json(two))
        (tmp_path / "other.json").write_text('{"anything": 1}')
    elif kind == "lines":
        path = tmp_path / "all.jsonl"
        path.write_text(report_json_lines(one) + report_json_lines(two))
    else:
        path = tmp_path / "all.json"
        texts = [report_json(one)] + ([report_json(two)] if kind == "array" else [])
        path.write_text("[" + ",".join(texts) + "]" if kind == "array" else texts[0])
    found = read_predictions(path)
    first = found.of(Path("/elsewhere/one.mkv"))
    assert first is not None
    assert first.segments == tuple(
        Segment(s.start, s.end, s.label, round(s.score, 6)) for s in one.segments or ()
    )
    assert first.classes[0] == one.classes[0]
    assert first.seconds == pytest.approx(3600.1)
    if kind != "document":
        second = found.of(Path("two.mp4"))
        assert second is not None and second.segments == ()
    assert found.of(Path("three.mp4")) is None


def test_activitynet_results_are_read(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    item = {"label": "x", "score": 0.5, "segment": [1, 2.5]}
    path.write_text(json.dumps({"version": "1", "results": {"abc": [item]}, "external_data": {}}))
    said = read_predictions(path).of(Path("v_abc.mp4"))
    assert said is not None and said.segments == (Segment(1.0, 2.5, "x", 0.5),)
    broken = json.dumps({"results": {"abc": [item, {**item, "score": float("nan")}]}})
    path.write_text(broken)
    with pytest.raises(ReportError, match="result 2 of 'abc' has a number that is not finite"):
        read_predictions(path)
    path.write_text(json.dumps({"results": {"abc": [{"label": "x"}]}}))
    with pytest.raises(ReportError, match="'abc'"):
        read_predictions(path)


def test_files_without_predictions_are_refused(tmp_path: Path) -> None:
    for name, text in (("a.json", "{"), ("b.json", "[]"), ("c.jsonl", "7\n")):
        (tmp_path / name).write_text(text)
        with pytest.raises(ReportError, match=name):
            read_predictions(tmp_path / name)


def test_frame_metrics_include_confusion_majority_and_chance() -> None:
    truth = [(0.0, 15.0, "x"), (15.0, 20.0, "y")]
    said = [Segment(0, 17, "x", 0.9), Segment(17, 20, "y", 0.8)]
    got = evaluate_segments([timeline(truth, said, 20.0)])
    assert got.metrics["majority"] == pytest.approx(75)
    assert got.metrics["chance"] == 50
    assert got.metrics["mean_class_frame_accuracy"] == pytest.approx((100 + 60) / 2)
    assert got.confusion == {"labels": ["x", "y"], "counts": [[150, 0], [20, 30]]}
    assert got.per_class["y"]["frame accuracy"] == pytest.approx(60)


def test_class_metrics_include_majority_and_chance() -> None:
    videos = [
        clip("a", "x", x=0.9, y=0.1),
        clip("b", "x", x=0.6, y=0.4),
        clip("c", "y", x=0.7, y=0.3),
    ]
    got = evaluate_classes(videos)
    assert got.metrics["majority"] == pytest.approx(200 / 3)
    assert got.metrics["chance"] == 50
