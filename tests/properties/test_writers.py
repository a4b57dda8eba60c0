"""Reports with any labels and times, read back from what the writers wrote."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pysubs2
import srt
from hypothesis import given
from hypothesis import strategies as st

from tests.report.cases import VIDEO, report
from vtnstream.report.formats import WRITERS
from vtnstream.report.place import Place
from vtnstream.report.reading import report_from_json
from vtnstream.report.timebase import Clock
from vtnstream.types import Report, Segment

labels = st.text(max_size=20) | st.sampled_from(
    ("=1+1", "a,b", 'say "x"', "two\nlines", "<b>&</b>", "\x1b[31m", "]]>", "-->", "'", "\u202e")
)


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """A report of disjoint segments on the ticks of its video."""
    tick = Fraction(1, draw(st.sampled_from((1000, 12_800, 90_000))))
    rate = draw(st.sampled_from((Fraction(24), Fraction(25), Fraction(30_000, 1001))))
    lengths = draw(st.lists(st.integers(50, 10**6), max_size=6))
    video = dataclasses.replace(VIDEO, time_base=tick, start_seconds=Fraction(0))
    now, segments = Fraction(0), []
    for number, length in enumerate(lengths):
        now += draw(st.integers(0, 1000)) * tick * (number % 2)
        end = now + length * tick * 10
        score = draw(st.floats(0, 1))
        segments.append(Segment(float(now), float(end), draw(labels), score))
        now = end
    return report(
        video=video, segments=tuple(segments), frame_rate=rate, end_seconds=float(now), labels=()
    )


def written(one: Report, name: str) -> str:
    """What the writer of a format writes."""
    file = io.BytesIO()
    WRITERS[name].write(one, Place.of(one, Path("results")), file)
    return file.getvalue().decode("utf-8")


@given(reports())
def test_json_reads_back_equal(one: Report) -> None:
    text = written(one, "json")
    again = report_from_json(text)
    assert len(again.segments or ()) == len(one.segments or ())
    for a, b in zip(again.segments or (), one.segments or (), strict=True):
        assert a.label == b.label
        assert abs(a.start - b.start) <= 5.1e-7 and abs(a.end - b.end) <= 5.1e-7
        assert abs(a.score - b.score) <= 5.1e-7
    clock = Clock.of(one.video)
    assert [clock.exact(s.start) for s in again.segments or ()] == [
        clock.exact(s.start) for s in one.segments or ()
    ]
    assert written(again, "json") == text


@given(reports())
def test_lines_of_json_are_whole(one: Report) -> None:
    lines = [json.loads(line) for line in written(one, "jsonl").splitlines()]
    told = [line["label"] for line in lines if line["event"] == "segment"]
    assert told == [segment.label for segment in one.segments or ()]


@given(reports())
def test_tables_have_a_row_for_each_segment_and_no_formula(one: Report) -> None:
    for name, delimiter in (("csv", ","), ("tsv", "\t")):
        rows = list(csv.reader(io.StringIO(written(one, name)), delimiter=delimiter, strict=True))
        assert len(rows) == 1 + len(one.segments or ())
        assert len({len(row) for row in rows}) == 1
        for row, segment in zip(rows[1:], one.segments or (), strict=True):
            assert not row[2].lstrip().startswith(("=", "+", "-", "@"))
            assert abs(float(row[0]) - segment.start) <= 5.1e-7
            assert int(row[4]) <= int(row[5])


@given(reports())
def test_cues_never_reach_into_the_next(one: Report) -> None:
    cues = list(srt.parse(written(one, "srt"), ignore_errors=False))
    assert [cue.index for cue in cues] == list(range(1, len(one.segments or ()) + 1))
    assert all(a.end <= b.start for a, b in pairwise(cues))
    for cue, segment in zip(cues, one.segments or (), strict=True):
        assert timedelta(0) <= timedelta(seconds=segment.start) - cue.start < timedelta(
            milliseconds=1, microseconds=1
        ) or cue.start - timedelta(seconds=segment.start) < timedelta(microseconds=2)
    other = pysubs2.SSAFile.from_string(written(one, "vtt"), format_="vtt")
    assert [(event.start, event.end) for event in other] == [
        (round(cue.start / timedelta(milliseconds=1)), round(cue.end / timedelta(milliseconds=1)))
        for cue in cues
    ]


@given(reports())
def test_chapters_follow_each_other_without_holes(one: Report) -> None:
    text = written(one, "chapters")
    starts = [int(n) for n in re.findall(r"(?m)^START=(\d+)$", text)]
    ends = [int(n) for n in re.findall(r"(?m)^END=(\d+)$", text)]
    assert len(starts) == len(ends) == text.count("\n[CHAPTER]")
    assert starts[1:] == ends[:-1]
    assert len(starts) >= len(one.segments or ())


@given(reports())
def test_frame_formats_hold_every_segment(one: Report) -> None:
    root = ElementTree.fromstring(written(one, "cvat").encode())
    assert len(root.findall("track")) == len(one.segments or ())
    page = written(one, "html")
    assert page.count("<script") == written(report(), "html").count("<script")
    root = ElementTree.fromstring(written(one, "fcpxml").encode())
    assert root.tag == "fcpxml"
