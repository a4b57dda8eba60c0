"""Edit lists, read by OpenTimelineIO and its adapters; Final Cut's times are compared as
fractions."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import opentimelineio as otio
import pytest

from tests.report.cases import VIDEO, many_segments, report
from tests.report.videos import NTSC, Case
from vtnstream.report.formats import WRITERS
from vtnstream.report.place import Place
from vtnstream.report.writers.edit_lists import CutList, report_edl, report_fcp7, report_otio
from vtnstream.report.writers.fcpxml import report_fcpxml
from vtnstream.types import Report, Segment

Spans = list[tuple[int, int, str]]


def place_of(one: Report) -> Place:
    return Place.of(one, Path("results"))


def edited(timeline: Any) -> Spans:
    """Return the positions of clips in a sequence and in their source, which must agree."""
    spans = []
    for clip in timeline.find_clips():
        at = clip.transformed_time_range(clip.trimmed_range(), timeline.tracks)
        source = clip.source_range.start_time - clip.media_reference.available_range.start_time
        assert source.value == at.start_time.value
        spans.append((int(at.start_time.value), int(at.end_time_exclusive().value), clip.name))
    return spans


def expected(case: Case) -> Spans:
    """Return frames of the sequence; at a variable rate those nearest to each frame's time."""
    if case.rate is not None:
        return [(a, b, label) for a, b, label in case.cuts]
    rate = CutList.of(case.report, place_of(case.report)).rate
    return [
        (int(a * rate + Fraction(1, 2)), int(b * rate + Fraction(1, 2)), label)
        for a, b, label in case.spans
    ]


def test_otio(case: Case) -> None:
    place = place_of(case.report)
    timeline = otio.adapters.read_from_string(report_otio(case.report, place), "otio_json")
    assert edited(timeline) == expected(case)
    clip = next(iter(timeline.find_clips()))
    if case.rate is not None:
        assert clip.source_range.start_time.rate == float(case.rate)
    assert clip.media_reference.target_url == case.path.as_uri()
    assert clip.metadata["vtnstream"]["score"] == 0.5


def test_fcp7(case: Case) -> None:
    text = report_fcp7(case.report, place_of(case.report))
    assert edited(otio.adapters.read_from_string(text, "fcp_xml")) == expected(case)
    root = ElementTree.fromstring(text)
    ntsc = case.rate is not None and case.rate.denominator == 1001
    if case.rate is not None:
        assert root.findtext(".//sequence/rate/ntsc") == str(ntsc).upper()
        assert root.findtext(".//sequence/rate/timebase") == str(round(case.rate))
    drops = case.rate == 30 * NTSC
    shown = {e.text for e in root.iter("displayformat")}
    if case.rate is not None:
        assert shown == {"DF" if drops else "NDF"}


EVENT = re.compile(r"^\d{3,}  (\S+) +V +C +(\S{11}) (\S{11}) (\S{11}) (\S{11})$", re.MULTILINE)


def test_edl(case: Case) -> None:
    one = case.report
    text = report_edl(one, place_of(one))
    drops = case.rate == 30 * NTSC
    assert text.splitlines()[1] == ("FCM: DROP FRAME" if drops else "FCM: NON-DROP FRAME")
    cuts = CutList.of(one, place_of(one))
    rate = float(cuts.rate) if drops else float(round(cuts.rate))
    (reread,) = otio.adapters.read_from_string(text, "cmx_3600", rate=rate).tracks
    spans = [
        (
            clip.source_range.start_time.to_frames(),
            clip.source_range.end_time_exclusive().to_frames(),
            clip.metadata["cmx_3600"]["comments"][0].partition("COMMENT: ")[2],
        )
        for clip in reread.find_clips()
    ]
    assert spans == expected(case)
    assert {clip.name for clip in reread.find_clips()} == {case.path.name}
    rows = EVENT.findall(text)
    assert len(rows) == len(spans)
    assert all((row[1], row[2]) == (row[3], row[4]) for row in rows)
    assert (";" in rows[0][1]) is drops


def storyline(text: str) -> Iterator[tuple[Fraction, Fraction, Fraction, str, int]]:
    """Return offset, start, duration, name and lane of each clip of a Final Cut project."""
    root = ElementTree.fromstring(text)
    for clip in root.iter("asset-clip"):
        offset, start, duration = (
            Fraction(clip.get(key, "0s").removesuffix("s"))
            for key in ("offset", "start", "duration")
        )
        yield offset, start, duration, clip.get("name", ""), int(clip.get("lane", 0))


def test_fcpxml(case: Case) -> None:
    text = report_fcpxml(case.report, place_of(case.report))
    root = ElementTree.fromstring(text)
    frame = Fraction(
        (root.find(".//format") or root.iter("format").__next__())
        .get("frameDuration", "")
        .removesuffix("s")
    )
    if case.rate is not None:
        assert frame == 1 / case.rate
    found = []
    for offset, start, duration, name, lane in storyline(text):
        assert offset == start and lane == 0
        found.append((offset / frame, (offset + duration) / frame, name))
    assert found == expected(case)
    spine = root.find(".//spine")
    assert spine is not None
    ends = Fraction(0)
    for item in spine:  # the storyline has no hole
        assert Fraction(item.get("offset", "").removesuffix("s")) == ends
        ends += Fraction(item.get("duration", "").removesuffix("s"))


def test_opentimelineio_reads_the_final_cut_project(case: Case) -> None:
    """Its reader counts in whole frames per second, so only names and order are compared."""
    read = otio.adapters.read_from_string(
        report_fcpxml(case.report, place_of(case.report)), "fcpx_xml"
    )
    clips = [clip.name for clip in read.find_children(descended_from_type=otio.schema.Clip)]
    assert [name for name in clips if name != "Gap"] == [label for *_, label in case.cuts]


# ----------------------------------------------------------------------------- overlaps

BOTH = (
    Segment(0.0, 10.0, "person", 0.9),
    Segment(4.0, 6.0, "car", 0.8),
    Segment(10.0, 12.0, "person", 0.7),
    Segment(11.0, 13.0, "person", 0.6),
)


def overlapping(**changes: Any) -> Report:
    video = dataclasses.replace(VIDEO, start_seconds=Fraction(0), **changes.pop("video", {}))
    return report(segments=BOTH, video=video, **changes)


def test_overlapping_segments_go_to_tracks_above() -> None:
    one = overlapping(frame_rate=Fraction(25))
    place = place_of(one)
    wanted = {(0, 250, "person"), (250, 300, "person"), (100, 150, "car"), (275, 325, "person")}
    for text, adapter in (
        (report_otio(one, place), "otio_json"),
        (report_fcp7(one, place), "fcp_xml"),
    ):
        timeline = otio.adapters.read_from_string(text, adapter)
        assert [len(list(track.find_clips())) for track in timeline.tracks] == [2, 2]
        assert set(edited(timeline)) == wanted
    lanes = [
        (o * 25, (o + d) * 25, name, lane)
        for o, _, d, name, lane in storyline(report_fcpxml(one, place))
    ]
    assert {row[:3] for row in lanes} == wanted
    assert [row[3] for row in lanes] == [1, 1, 2, 2]
    assert "overlap" in (WRITERS["edl"].refuses(one, place) or "")


# ----------------------------------------------------------------------------- timecode


@pytest.mark.parametrize("start", ["01:00:00:00", "01:00:00;00"])
def test_the_sources_own_timecode_is_kept(start: str) -> None:
    one = overlapping(video={"start_timecode": start}, frame_rate=30 * NTSC)
    one = dataclasses.replace(one, segments=BOTH[:1])
    text = report_edl(one, place_of(one))
    mark = start[8]
    assert f"01:00:00{mark}00 01:00:10{mark}00 00:00:00{mark}00 00:00:10{mark}00" in text
    assert ("NON-DROP" in text) is (mark == ":")
    (_, first, length, _, _) = next(storyline(report_fcpxml(one, place_of(one))))
    hour = (107_892 if mark == ";" else 108_000) / (30 * NTSC)
    assert (first, length) == (hour, 300 / (30 * NTSC))
    timeline = otio.adapters.read_from_string(report_fcp7(one, place_of(one)), "fcp_xml")
    assert edited(timeline) == [(0, 300, "person")]


def test_a_day_is_the_end_of_timecode() -> None:
    place = place_of(overlapping())
    long = report(segments=(Segment(0, 9, "a", 1),), end_seconds=24 * 3600.0)
    assert "24 hours" in (WRITERS["edl"].refuses(long, place) or "")
    late = overlapping(video={"start_timecode": "23:59:59:00"}, end_seconds=13.0)
    late = dataclasses.replace(late, segments=BOTH[:1])
    assert "24 hours" in (WRITERS["edl"].refuses(late, place) or "")


@pytest.mark.parametrize("rate", [Fraction(10), Fraction(15), Fraction(25, 2)])
def test_rates_without_a_timecode_are_counted_on_a_multiple(rate: Fraction) -> None:
    one = overlapping(frame_rate=rate)
    one = dataclasses.replace(one, segments=(Segment(0.4, 0.8, "a", 1.0),))
    cuts = CutList.of(one, place_of(one))
    assert cuts.rate % rate == 0
    first, stop = cuts.rows[0][0].first, cuts.rows[0][0].stop
    assert (first / cuts.rate, stop / cuts.rate) == (Fraction(4, 10), Fraction(8, 10))


# ------------------------------------------------------------------------------- labels

NAMES = ("<a> & b", "x\ny", "\x00\x1b", "切", "", "* COMMENT", "\ud800", "]]>", "'\"", "=1+1")


@pytest.mark.parametrize("name", ["otio", "fcp7", "fcpxml", "edl"])
def test_any_label_and_many_segments(name: str) -> None:
    odd = tuple(Segment(k, k + 1, label, float("nan")) for k, label in enumerate(NAMES))
    render = {"otio": report_otio, "fcp7": report_fcp7, "fcpxml": report_fcpxml, "edl": report_edl}
    adapter = {"otio": "otio_json", "fcp7": "fcp_xml", "edl": "cmx_3600"}
    for segments in (odd, many_segments(1000), ()):
        one = report(segments=segments, end_seconds=10.0)
        text = render[name](one, place_of(one))
        text.encode("utf-8")
        assert text.endswith("\n") and "\x1b" not in text
        if name == "fcpxml":
            assert len(list(storyline(text))) == len(segments)
        elif segments:
            rate = {"rate": float(30 * NTSC)} if name == "edl" else {}
            read = otio.adapters.read_from_string(text, adapter[name], **rate)
            assert len(list(read.find_clips())) == len(segments)
