from __future__ import annotations

import csv
import dataclasses
import io
import math

import pytest

from tests.report.cases import HEADS, REPORT, VIDEO, report
from tests.report.videos import Case
from vtnstream.report.writers.tables import report_csv, report_tsv
from vtnstream.types import ClassScore, Segment


def _rows(text: str, delimiter: str = ",") -> list[list[str]]:
    """Read a table with Python's own reader, opened as its documentation says."""
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def test_one_row_per_segment() -> None:
    rows = _rows(report_csv(REPORT))
    frames = ["start_frame", "end_frame", "start_timecode", "end_timecode"]
    assert rows[0] == ["start", "end", "label", "score", *frames]
    assert rows[1][:4] == ["0", "421.5", "preparation", "0.934568"]
    assert rows[1][4:] == ["0", "12632", "00:00:00;00", "00:07:01;16"]
    assert rows[3][:4] == ["1805.25", "2400", "clipping", "0.5"]
    assert len(rows) == 5
    assert _rows(report_tsv(REPORT), "\t") == rows


def test_frame_numbers_are_those_of_the_video(case: Case) -> None:
    rows = _rows(report_csv(case.report))[1:]
    if case.rate is not None:
        assert [(int(r[4]), int(r[5])) for r in rows] == [(a, b) for a, b, _ in case.cuts]
    for row, (start, end, _) in zip(rows, case.spans, strict=True):
        assert (float(row[0]), float(row[1])) == pytest.approx((start, end), abs=5e-7)


def test_one_row_per_class_without_a_timeline() -> None:
    rows = _rows(report_csv(report(segments=None)))
    assert rows == [["label", "score"], ["cholecystectomy", "0.9731"], ["hernia repair", "0.0004"]]
    assert len(_rows(report_csv(report(segments=())))) == 1


def test_classes_of_several_heads_name_their_head() -> None:
    actions = (ClassScore("take lid", 0.375), ClassScore("put pan", 0.125))
    rows = _rows(report_csv(report(segments=None, classes=actions, heads=HEADS)))
    assert rows[0] == ["label", "score", "head"]
    assert rows[1] == ["take lid", "0.375", "action"]
    assert [row[2] for row in rows[1:]] == ["action"] * 2 + ["verb"] * 2 + ["noun"] * 2
    assert rows[3] == ["take", "0.75", "verb"]


@pytest.mark.parametrize(
    ("label", "cell"),
    [
        ('a,b"c', 'a,b"c'),
        ("切开", "切开"),
        ("", ""),
        ("a=1", "a=1"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1", "' =1"),
        ("\t=1", "\\t=1"),
        ("＝1", "'＝1"),
        ("two\nlines", "two\\nlines"),
        ("\r", "\\r"),
        ("\x1b]0;x\x07", "\\x1b]0;x\\x07"),
    ],
)
def test_labels_are_safe_in_a_spreadsheet(label: str, cell: str) -> None:
    one = report(segments=(Segment(0, 1, label, 1.0),))
    for text, delimiter in ((report_csv(one), ","), (report_tsv(one), "\t")):
        assert _rows(text, delimiter)[1][2] == cell
    assert _rows(report_csv(report(segments=None, classes=(ClassScore(label, 1.0),))))[1][0] == cell


def test_several_tracks_have_a_column() -> None:
    both = (Segment(0, 1, "a", 1.0, "dense"), Segment(0, 1, "a", 1.0))
    rows = _rows(report_csv(report(segments=both)))
    assert [row[4] for row in rows] == ["track", "dense", ""]


def test_without_a_rate_there_are_no_frame_numbers() -> None:
    unknown = dataclasses.replace(VIDEO, average_rate=None)
    rows = _rows(report_csv(report(video=unknown, frame_rate=None)))
    assert rows[1] == ["0", "421.5", "preparation", "0.934568", "", "", "", ""]


def test_numbers_are_plain_decimals() -> None:
    rows = _rows(
        report_csv(
            report(
                segments=None,
                classes=(
                    ClassScore("tiny", 1e-9),
                    ClassScore("less", -1e-9),
                    ClassScore("none", math.nan),
                    ClassScore("all", 1.0),
                    ClassScore("third", 1 / 3),
                ),
            )
        )
    )
    assert [row[1] for row in rows[1:]] == ["0", "0", "", "1", "0.333333"]


def test_tracks_follow_one_after_the_other() -> None:
    segments = (
        Segment(0, 1, "shot", 0.9, "shots"),
        Segment(0, 4, "cut", 0.8, "editing style"),
        Segment(1, 4, "shot", 0.9, "shots"),
    )
    rows = _rows(report_csv(report(segments=segments)))
    assert [row[4] for row in rows] == ["track", "shots", "shots", "editing style"]
