from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from tests.report.cases import HEADS, PARTIAL, REPORT, SEGMENTS, report
from vtnstream.errors import ReportError
from vtnstream.report.reading import read_report, report_from_json
from vtnstream.report.writers.structured import (
    SCHEMA,
    event,
    failure_document,
    json_line,
    report_document,
    report_events,
    report_json,
    report_json_lines,
)
from vtnstream.types import ClassScore, Report, Segment


def test_the_document_has_the_promised_keys() -> None:
    document = json.loads(report_json(REPORT))
    assert document["schema"] == SCHEMA == "vtnstream/report/1"
    assert document["input"] == "films/movie.mkv"
    assert document["classes"] == [
        {"label": "cholecystectomy", "score": 0.9731},
        {"label": "hernia repair", "score": 0.0004},
    ]
    assert document["segments"][0] == {
        "start": 0.0,
        "end": 421.5,
        "label": "preparation",
        "score": 0.934568,
        "frames": [0, 12632],
        "timecode": ["00:00:00;00", "00:07:01;16"],
    }
    assert document["timebase"] == {"rate": "30000/1001", "constant": True, "drop_frame": True}
    assert document["partial"] is None
    assert document["video"]["time_base"] == "1/90000"
    assert document["video"]["average_rate"] == "30000/1001"
    assert document["range"] == {"start": 0.0, "end": 3600.1}
    assert {"model", "sampling", "labels", "settings", "run", "warnings"} < document.keys()


def test_no_timeline_is_null_and_an_empty_one_is_not() -> None:
    assert report_document(report(segments=None))["segments"] is None
    assert report_document(report(segments=()))["segments"] == []


def test_partial_results_say_what_was_read() -> None:
    partial = report_document(report(partial=PARTIAL))["partial"]
    assert partial["seconds_read"] == 2410.5
    assert partial["gaps"] == [[1800.0, 1805.25]]
    assert len(partial["reasons"]) == 2


def test_one_segment_per_line() -> None:
    lines = report_json(REPORT).splitlines()
    assert sum('"label": "dissection", "score"' in line for line in lines) == 1
    assert len(lines) < 100


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"segments": None, "labels": (), "settings": {}},
        {"segments": (), "partial": PARTIAL},
        {
            "segments": (
                Segment(0.0, 1.0, "a", 0.5, "dense"),
                Segment(0.0, 2.0, "a", 0.5, "sliding"),
            )
        },
        {"heads": HEADS},
        {"input": "caf\udce9 \udcff.mkv"},
        {"labels": ("切开", "a\nb", "\u2028", "=1+1", '"', "\ud800")},
    ],
)
def test_documents_read_back_equal(changes: dict) -> None:
    original = report(**changes)
    text = report_json(original)
    text.encode("utf-8")  # no lone surrogate is left
    again = report_from_json(text)
    assert report_json(again) == text
    assert again.input == original.input
    assert again.labels == original.labels
    assert again.video == original.video
    assert again.partial == original.partial
    assert again.heads == original.heads
    assert (again.scores, again.frame_rate) == (original.scores, original.frame_rate)
    assert (again.segments is None) == (original.segments is None)


def test_times_survive_to_the_microsecond_and_boundaries_stay_shared() -> None:
    edge = 1001 / 30000 * 77
    pair = (Segment(0.0, edge, "a", 1 / 3), Segment(edge, 9.0, "b", 2 / 3))
    first, second = report_from_json(report_json(report(segments=pair))).segments or ()
    assert first.end == second.start == pytest.approx(edge, abs=5e-7)
    assert first.score == pytest.approx(1 / 3, abs=5e-7)


def test_no_nan_and_no_numpy_in_the_document() -> None:
    odd = report(
        classes=(ClassScore("a", math.nan),),
        run={
            "speed": math.inf,
            "tokens": np.int64(3),
            "share": np.float32(0.1),
            "store": Path("a/b"),
            "names": {"b", "a"},
            "negative zero": -1e-9,
        },
    )
    text = report_json(odd)
    document = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert document["classes"][0]["score"] is None
    assert document["run"] == {
        "speed": None,
        "tokens": 3,
        "share": 0.1,
        "store": str(Path("a/b")),
        "names": ["a", "b"],
        "negative zero": 0.0,
    }
    assert "-0.0" not in text
    assert math.isnan(report_from_json(text).classes[0].score)
    with pytest.raises(TypeError, match="cannot hold object"):
        report_json(report(run={"x": object()}))


# ---------------------------------------------------------------------------- events


def test_events_of_a_report() -> None:
    lines = [json.loads(line) for line in report_json_lines(REPORT).splitlines()]
    assert [line["event"] for line in lines] == ["start", *["segment"] * 4, "result"]
    assert {line["input"] for line in lines} == {"films/movie.mkv"}
    assert lines[1]["start"] == 0.0 and lines[1]["label"] == "preparation"
    assert lines[-1]["num_segments"] == 4
    assert lines[-1]["classes"][0]["label"] == "cholecystectomy"
    assert "segments" not in lines[-1]
    assert list(report_events(report(segments=None)))[-1]["num_segments"] is None


def test_a_line_stays_one_line_whatever_the_label() -> None:
    line = json_line(event("error", "a\u2028b\n\x85\udcff.mkv", message="x\r\ny"))
    assert len(line.splitlines()) == 1
    line.encode("utf-8")
    assert json.loads(line)["input"] == "a\u2028b\n\x85\udcff.mkv"


def test_failures_have_a_document() -> None:
    document = failure_document("x.mkv", "x.mkv: no video stream")
    assert document == {"schema": SCHEMA, "input": "x.mkv", "error": "x.mkv: no video stream"}
    with pytest.raises(ReportError, match=r"holds no result: x\.mkv: no video stream"):
        report_from_json(json.dumps(document))


# --------------------------------------------------------------------------- reading


def _edited(**changes: object) -> str:
    return json.dumps({**report_document(REPORT), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        (b"\xff\xfe\xfa", "not JSON"),
        ("null", "not a vtnstream report"),
        ("[]", "an array"),
        ('{"schema": "vtnstream/report/x"}', "not a vtnstream report"),
        ('{"schema": "vtnstream/report/2"}', "newer than this vtnstream: update it"),
        (_edited(input=3), "input: expected str, got 3"),
        (_edited(video=None), "video: expected object, got null"),
        (_edited(segments=[{"start": 0, "end": 1, "label": "a"}]), "segments: 1: score is missing"),
        (
            _edited(segments=[{"start": "0", "end": 1, "label": "a", "score": 1}]),
            "segments: 1: start: expected int or float",
        ),
        (
            _edited(segments=[{"start": 5, "end": 1, "label": "a", "score": 1}]),
            r"segment 1 \('a'\) ends before it starts: start 5.0, end 1.0",
        ),
        (
            _edited(segments=[{"start": 5, "end": 1e300, "label": "a", "score": 1}]),
            r"segment 1 \('a'\) ends after years",
        ),
        (
            _edited(segments=[{"start": None, "end": 1, "label": "a", "score": 1}]),
            "start: expected int or float, got null",
        ),
        (
            _edited(segments=[{"start": True, "end": 1, "label": "a", "score": 1}]),
            "start: expected int or float, got true",
        ),
        (_edited(labels="abc"), "labels: expected array"),
        (_edited(range={"start": 0, "end": 10**400}), "range: too large a number"),
        (_edited(range={"start": 0, "end": float("nan")}), "not JSON"),
        (
            _edited(video={**report_document(REPORT)["video"], "time_base": "1e999999999"}),
            "video: time_base: not a rational number",
        ),
        (
            _edited(video={**report_document(REPORT)["video"], "time_base": "1/0"}),
            "video: time_base: not a rational number",
        ),
        (_edited(timebase={"rate": "0", "constant": True}), "timebase: not a rate"),
        (_edited(timebase=[]), "timebase: expected object"),
        (_edited(scores=[{"start": 0, "end": 1}]), "scores: 1: values is missing"),
        (
            _edited(
                partial={"reasons": [], "seconds_read": 1, "seconds_expected": None, "gaps": [[1]]}
            ),
            "partial: gaps: expected 2 values, got 1",
        ),
    ],
)
def test_other_documents_are_one_line_errors(text: str | bytes, message: str) -> None:
    with pytest.raises(ReportError, match=message) as caught:
        report_from_json(text, where="edited.json")
    assert str(caught.value).startswith("edited.json: ")
    assert "\n" not in str(caught.value)


def test_unknown_keys_are_ignored() -> None:
    assert report_from_json(_edited(future={"a": 1})).input == REPORT.input


def test_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "movie.mkv.json"
    file.write_text(report_json(REPORT), encoding="utf-8")
    again = read_report(file)
    assert isinstance(again, Report)
    assert [s.label for s in again.segments or ()] == [s.label for s in SEGMENTS]
    with pytest.raises(ReportError, match=r"absent.json: cannot be read \(No such file"):
        read_report(tmp_path / "absent.json")
