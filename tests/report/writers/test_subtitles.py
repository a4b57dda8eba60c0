"""Subtitles, read by independent parsers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pysubs2
import pytest

from tests.report.cases import VIDEO, report
from tests.report.videos import Case
from vtnstream.report.writers.subtitles import report_srt, report_vtt
from vtnstream.types import Segment

ODD = (
    "a<b>c</b>",
    "{\\an8}x",
    "1 --> 2",
    "two\n\nlines",
    "\x1b[31m",
    "& &amp; <",
    "切",
    "",
    "WEBVTT",
    "\ud800",
)


def odd() -> tuple[Segment, ...]:
    return tuple(Segment(k, k + 1, label, 0.5) for k, label in enumerate(ODD))


def read(text: str, kind: str) -> list[tuple[int, int, str]]:
    events = pysubs2.SSAFile.from_string(text, format_=kind)
    return [(event.start, event.end, event.plaintext) for event in events]


@pytest.mark.parametrize(("render", "kind"), [(report_srt, "srt"), (report_vtt, "vtt")])
def test_times_are_rounded_down_so_that_cues_do_not_overlap(
    case: Case, render: object, kind: str
) -> None:
    found = read(render(case.report), kind)  # type: ignore[operator]
    wanted = [(int(a * 1000), int(b * 1000), label) for a, b, label in case.spans]
    assert [(a, b) for a, b, _ in found] == [(a, b) for a, b, _ in wanted]
    assert all(
        text.startswith(label) for (*_, text), (*_, label) in zip(found, wanted, strict=True)
    )
    ends, starts = [b for _, b, _ in found[:-1]], [a for a, _, _ in found[1:]]
    assert all(end <= start for end, start in zip(ends, starts, strict=True))


@pytest.mark.parametrize(("render", "kind"), [(report_srt, "srt"), (report_vtt, "vtt")])
def test_any_label_stays_one_cue_without_markup(render: object, kind: str) -> None:
    text = render(report(segments=odd()))  # type: ignore[operator]
    found = read(text.encode("utf-8", "backslashreplace").decode(), kind)
    assert [(a, b) for a, b, _ in found] == [(k * 1000, k * 1000 + 1000) for k in range(len(ODD))]
    assert "<b>" not in text and "\x1b" not in text and text.endswith("\n")
    shown = [text for *_, text in found]
    assert shown[0].replace("＜", "<").replace("＞", ">").startswith("a<b>c</b>") or kind == "vtt"
    assert shown[6] == "切 (50.0 %)"


def test_overlapping_classes_have_cues_that_overlap() -> None:
    both = (Segment(0, 4, "a", 0.5, "dense"), Segment(1, 2, "b", float("nan"), "sliding"))
    assert read(report_srt(report(segments=both)), "srt") == [
        (0, 4000, "[dense] a (50.0 %)"),
        (1000, 2000, "[sliding] b"),
    ]
    hidden = (Segment(1.0, 1.0004, "too short", 1.0),)
    assert read(report_srt(report(segments=hidden, video=VIDEO)), "srt") == []


@pytest.mark.parametrize(("render", "kind"), [(report_srt, "srt"), (report_vtt, "vtt")])
def test_ffprobe_reads_them(case: Case, render: object, kind: str, tmp_path: Path) -> None:
    if not shutil.which("ffprobe"):
        pytest.skip("needs ffmpeg")
    path = tmp_path / f"film.{kind}"
    path.write_text(render(case.report), encoding="utf-8")  # type: ignore[operator]
    command = ["ffprobe", "-v", "error", "-of", "csv=p=0", "-show_entries"]
    shown = subprocess.run(
        [*command, "packet=pts_time,duration_time", path],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [tuple(map(float, row.strip(",").split(","))) for row in shown.stdout.split()]
    wanted = [(int(a * 1000), int(b * 1000)) for a, b, _ in case.spans]
    assert [(round(a * 1000), round((a + d) * 1000)) for a, d in rows] == wanted
