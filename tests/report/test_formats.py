"""The contract of the table: every format, every kind of report."""

from __future__ import annotations

import dataclasses
import time
from fractions import Fraction
from pathlib import Path

import pytest

from tests.report.cases import PARTIAL, REPORT, VIDEO, many_segments, report
from vtnstream.errors import MissingExtraError, UsageError
from vtnstream.report import formats
from vtnstream.report.formats import WRITERS, format_names, left_out
from vtnstream.report.writer import write_reports
from vtnstream.types import Segment

ODD = tuple(
    Segment(k, k + 1, label, 0.5)
    for k, label in enumerate(("[red]切开\n\ud800", "", "../../x", "<script>", "\x00"))
)
BOTH = (Segment(0, 2, "a", 0.5, "dense"), Segment(1, 3, "a", 0.5, "sliding"))
UNKNOWN = dataclasses.replace(VIDEO, average_rate=None)
REPORTS = {
    "plain": REPORT,
    "class": report(segments=None, attention=None),
    "empty": report(segments=()),
    "odd": report(segments=ODD, classes=(), labels=()),
    "overlapping": report(segments=BOTH),
    "unknown rate": report(video=UNKNOWN, frame_rate=None),
    "variable rate": report(frame_rate=None),
    "partial": report(partial=PARTIAL),
    "no ticks": report(video=dataclasses.replace(VIDEO, time_base=Fraction(0))),
}


@pytest.mark.parametrize("kind", sorted(REPORTS))
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_every_format_writes_or_refuses_every_report(name: str, kind: str, tmp_path: Path) -> None:
    written = write_reports(REPORTS[kind], tmp_path, [name])
    if written.refused:
        assert written.files == () and list(tmp_path.iterdir()) == []
        assert "\n" not in written.refused[name]
        refusable = {"class", "overlapping", "unknown rate", "variable rate"}
        assert kind in refusable or (name, kind) == ("train-csv", "odd")
        return
    (path,) = written.files
    assert path.name == f"movie.mkv{WRITERS[name].suffix}"
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n") or (name, kind) == ("srt", "empty")
    assert "\r" not in text and "\x00" not in text


def test_refusals_give_the_reason(tmp_path: Path) -> None:
    refused = {
        kind: set(write_reports(REPORTS[kind], tmp_path, WRITERS).refused)
        for kind in ("plain", "class", "overlapping", "unknown rate", "variable rate")
    }
    assert refused["plain"] == set()
    assert refused["class"] == {name for name, writer in WRITERS.items() if writer.timeline}
    assert refused["overlapping"] == {"chapters", "edl", "mstcn"}
    assert refused["unknown rate"] == {
        *("otio", "edl", "fcp7", "fcpxml", "mstcn", "labelstudio", "cvat")
    }
    # Frames that nobody counted have no numbers; a timeline at a standard rate has places.
    assert refused["variable rate"] == {"mstcn", "labelstudio", "cvat"}


def test_a_varying_rate_is_remarked_on_once(tmp_path: Path) -> None:
    line, _ = write_reports(REPORTS["variable rate"], tmp_path, ["edl", "otio", "srt"]).remarks
    assert line.startswith("edl, otio: ") and "29.97 frames/s" in line
    (only,) = write_reports(REPORT, tmp_path, WRITERS).remarks
    assert only == "otio, edl, fcp7: video only: the sound has no events in it"
    mute = dataclasses.replace(REPORT, video=dataclasses.replace(REPORT.video, has_audio=False))
    assert write_reports(mute, tmp_path, WRITERS).remarks == ()


def test_events_beyond_999_of_an_edl_are_remarked_on(tmp_path: Path) -> None:
    most = report(segments=many_segments(999), end_seconds=20_000.0)
    (only,) = write_reports(most, tmp_path, ["edl"]).remarks
    assert "video only" in only
    more = report(segments=many_segments(1000), end_seconds=20_000.0)
    line, _ = write_reports(more, tmp_path, ["edl", "csv"]).remarks
    assert "1,000 events" in line and "999" in line


def test_suffixes_differ() -> None:
    suffixes = [writer.suffix for writer in WRITERS.values()]
    assert len(set(suffixes)) == len(suffixes)


def test_names() -> None:
    assert format_names(["csv,json", "csv"]) == ("csv", "json")
    assert format_names(["json, all"]) == tuple(WRITERS)
    assert set(format_names(["all"], timeline=False)) == {
        name for name, writer in WRITERS.items() if not writer.timeline
    }
    with pytest.raises(UsageError, match="unknown format 'jsno'; did you mean 'json'"):
        format_names(["jsno"])
    with pytest.raises(UsageError, match="unknown format 'pdf'"):
        format_names(["all,pdf"])
    with pytest.raises(UsageError, match="srt holds a timeline: use vtnstream timeline"):
        format_names(["srt"], timeline=False)


def test_missing_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = dataclasses.replace(WRITERS["otio"], modules=("no_such_library",))
    monkeypatch.setattr(formats, "WRITERS", {**WRITERS, "otio": odd})
    assert left_out() == ("otio",)
    assert "otio" not in format_names(["all"])
    with pytest.raises(MissingExtraError, match=r"pip install .*\[formats\]"):
        format_names(["otio"])


def test_a_long_video_with_2000_segments_is_written_in_seconds(tmp_path: Path) -> None:
    segments = many_segments(2000)
    long = report(segments=segments, end_seconds=segments[-1].end)
    began = time.process_time()
    written = write_reports(long, tmp_path, WRITERS)
    assert time.process_time() - began < 60
    assert len(written.files) == len(WRITERS)
