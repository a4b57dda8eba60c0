"""Chapters as text and inside a copy of the video, read by ffprobe and by vtnstream."""

from __future__ import annotations

import json
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.report.cases import report
from tests.report.videos import Case
from vtnstream.report.writers.chapters import chapters_of, report_ffmetadata
from vtnstream.types import Segment


def ffprobe(path: Path, *options: str) -> Any:
    if not shutil.which("ffprobe"):
        import os

        assert os.environ.get("CI") != "true", "ffmpeg is missing: .ci/run installs it"
        pytest.skip("needs ffmpeg")
    command = ["ffprobe", "-v", "error", "-of", "json", *options, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def chapters_in(path: Path) -> list[tuple[Fraction, Fraction, str]]:
    found = ffprobe(path, "-show_chapters")["chapters"]
    return [
        (
            c["start"] * Fraction(c["time_base"]),
            c["end"] * Fraction(c["time_base"]),
            c["tags"]["title"],
        )
        for c in found
    ]


def test_chapters_are_exact_and_without_gaps(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "film.ffmetadata"
    path.write_text(report_ffmetadata(case.report), encoding="utf-8")
    found = chapters_in(path)
    spans = case.spans
    spans.insert(2, (spans[1][1], spans[2][0], "background"))
    assert found == spans


@pytest.mark.parametrize("label", ["a=b;c#d\\e", "two\nlines", "[CHAPTER]", "切", "\x1b", " x "])
def test_any_title(label: str, tmp_path: Path) -> None:
    path = tmp_path / "film.ffmetadata"
    one = report(segments=(Segment(0, 4, label, 1), Segment(4, 9, "next", 1)), end_seconds=9.0)
    path.write_text(report_ffmetadata(one), encoding="utf-8")
    (_, _, first), (_, _, second) = chapters_in(path)
    assert second == "next"
    assert first == label.encode("unicode_escape").decode() or first == label


def test_time_around_segments_is_background() -> None:
    one = report(segments=(Segment(2, 3, "b", 1), Segment(1, 2, "a", 1)), end_seconds=5.0)
    assert [c.title for c in chapters_of(one)] == ["background", "a", "b", "background"]
    assert chapters_of(report(segments=())) == []
    part = report(segments=(Segment(20, 30, "a", 1),), start_seconds=20.0, end_seconds=30.0)
    assert [(c.title, c.start) for c in chapters_of(part)] == [("(not analysed)", 0), ("a", 20)]
