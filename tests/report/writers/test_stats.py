"""Scores of each frame as CSV."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np

from tests.report.cases import REPORT
from vtnstream.report.writer import rendered, write_reports
from vtnstream.types import FrameScores, Report, TokenTimes


def with_scores(count: int) -> Report:
    places = np.arange(count)
    starts = places * 1001 / 30000
    values = np.stack([places / 7, np.where(places == 1, np.nan, 0.5)], axis=1).astype(np.float32)
    scores = FrameScores(
        values, TokenTimes(places, places, starts, starts + 1001 / 30000), ("score_a,b", "change")
    )
    return dataclasses.replace(REPORT, frame_scores=scores)


def test_one_row_per_frame_with_number_time_and_scores(tmp_path: Path) -> None:
    (path,) = write_reports(with_scores(5000), tmp_path, ["stats"]).files
    assert path.name == "movie.mkv.stats.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["frame", "seconds", "timecode", "score_a,b", "change"]
    assert len(rows) == 5000
    assert [int(row["frame"]) for row in rows] == list(range(5000))
    assert rows[30]["timecode"] == "00:00:01;00"
    assert float(rows[4999]["seconds"]) == round(4999 * 1001 / 30000, 6)
    assert abs(float(rows[4999]["score_a,b"]) - 4999 / 7) < 1e-2
    assert [row["change"] for row in rows[:3]] == ["0.5", "", "0.5"]


def test_it_is_printed_too() -> None:
    text, _ = rendered(with_scores(2), "stats")
    assert len(text.splitlines()) == 3


def test_a_stored_result_is_refused_with_the_way_out(tmp_path: Path) -> None:
    refused = write_reports(REPORT, tmp_path, ["json", "stats"]).refused
    assert "timeline" in refused["stats"]
    assert [path.name for path in tmp_path.iterdir()] == ["movie.mkv.json"]
