from __future__ import annotations

import csv
import io
import math

import pytest

from tests.report.cases import REPORT, report
from vtnstream.report.tables import report_csv, report_tsv
from vtnstream.types import ClassScore, Segment


def _rows(text: str, delimiter: str = ",") -> list[list[str]]:
    """What Python's own reader makes of it, opened as its documentation says."""
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))


def test_one_row_a_segment() -> None:
    rows = _rows(report_csv(REPORT))
    assert rows[0] == ["start", "end", "label", "score"]
    assert rows[1] == ["0", "421.5", "preparation", "0.934568"]
    assert rows[3] == ["1805.25", "2400", "clipping", "0.5"]
    assert len(rows) == 5
    assert _rows(report_tsv(REPORT), "\t") == rows


def test_one_row_a_class_where_there_is_no_timeline() -> None:
    rows = _rows(report_csv(report(segments=None)))
    assert rows == [["label", "score"], ["cholecystectomy", "0.9731"], ["hernia repair", "0.0004"]]
    assert _rows(report_csv(report(segments=()))) == [["start", "end", "label", "score"]]


@pytest.mark.parametrize("label", ['a,b"c', "tab\there", "two\nlines", "切开", "", "=1+1", "\r"])
def test_any_label_reads_back(label: str) -> None:
    one = report(segments=(Segment(0, 1, label, 1.0),))
    assert _rows(report_csv(one))[1][2] == label
    assert _rows(report_tsv(one), "\t")[1][2] == label


def test_tracks_have_a_column_where_there_are_several() -> None:
    both = (Segment(0, 1, "a", 1.0, "dense"), Segment(0, 1, "a", 1.0))
    rows = _rows(report_csv(report(segments=both)))
    assert [row[-1] for row in rows] == ["track", "dense", ""]


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
