"""The table of formats: suffix, writer and limits of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import filterfalse
from typing import BinaryIO

from vtnstream.errors import UsageError
from vtnstream.optional import installed, require
from vtnstream.registry import lookup
from vtnstream.report.page.render import report_page
from vtnstream.report.place import Place
from vtnstream.report.timebase import Timebase
from vtnstream.report.writers.annotations import (
    labels_that_meet,
    report_activitynet,
    report_fiftyone,
    report_label_studio,
    report_mstcn,
)
from vtnstream.report.writers.chapters import report_ffmetadata
from vtnstream.report.writers.edit_lists import (
    report_edl,
    report_fcp7,
    report_otio,
    runs_over_a_day,
)
from vtnstream.report.writers.fcpxml import report_fcpxml
from vtnstream.report.writers.lanes import overlapping
from vtnstream.report.writers.pictures import IMAGES, SHEETS
from vtnstream.report.writers.stats import report_stats, without_scores
from vtnstream.report.writers.structured import report_json, report_json_lines
from vtnstream.report.writers.subtitles import report_srt, report_vtt
from vtnstream.report.writers.tables import not_trainable, report_csv, report_train_csv, report_tsv
from vtnstream.report.writers.xml_annotations import report_cvat, report_eaf
from vtnstream.types import Report

EXTRA = "formats"
_ALL = "all"
_LAYERED = "srt, vtt, otio, fcpxml, fcp7 or eaf"
_OTIO = "opentimelineio"
_MOST_EVENTS = 999
_WITHOUT_SOUND = ("otio", "edl", "fcp7")

Write = Callable[[Report, Place, BinaryIO], None]
Check = Callable[[Report, Place], str | None]


def _fits(report: Report, place: Place) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class ReportWriter:
    """One format.

    Attributes:
        suffix: ending of its files.
        write: writes a report into an open file.
        timeline: the format holds only segments.
        numbers: the format holds frame numbers.
        frames: the format holds positions on a timeline at a frame rate.
        single: the format has one track without overlapping segments.
        modules: libraries of the extra :data:`EXTRA` that write it.
        check: further limits of the format, as :meth:`refuses`.
    """

    suffix: str
    write: Write
    timeline: bool = True
    numbers: bool = False
    frames: bool = False
    single: bool = False
    modules: tuple[str, ...] = ()
    check: Check = _fits

    @property
    def is_text(self) -> bool:
        """Whether a report is one text in this format, which can also be printed."""
        return self.write is not _not_text

    def refuses(self, report: Report, place: Place) -> str | None:
        """Return one sentence why this format cannot hold a report; None if it can."""
        if self.timeline and report.segments is None:
            return "it holds a timeline, but this result has none: use vtnstream timeline"
        if self.frames and Timebase.of(report) is None:
            return "it counts frames, but the frame rate of the video is unknown"
        if self.numbers and not _are_counted(report):
            return (
                "it holds frame numbers, but the frames of this video were not counted: run "
                "vtnstream timeline on a local copy of it"
            )
        if self.single and overlapping(report.segments or ()):
            return f"segments overlap, but it holds one at a time: use {_LAYERED}, or --nms"
        return self.check(report, place)


def _are_counted(report: Report) -> bool:
    base = Timebase.of(report)
    ends = [report.end_seconds, *(t for s in report.segments or () for t in (s.start, s.end))]
    return base is not None and all(base.frame(t) is not None for t in ends)


def _text(render: Callable[[Report], str]) -> Write:
    return _placed(lambda report, place: render(report))


def _placed(render: Callable[[Report, Place], str]) -> Write:
    def write(report: Report, place: Place, file: BinaryIO) -> None:
        # Lone surrogates (labels of a damaged config) become escapes rather than an error.
        file.write(render(report, place).encode("utf-8", "backslashreplace"))

    return write


def _not_text(report: Report, place: Place, file: BinaryIO) -> None:
    raise AssertionError("images are written by write_reports")


def _without_segments(report: Report, place: Place) -> str | None:
    return None if report.segments else "it shows a frame of each segment, but there is none"


def _within_a_day(report: Report, place: Place) -> str | None:
    return "timecode starts again after 24 hours" if runs_over_a_day(report, place) else None


WRITERS: Mapping[str, ReportWriter] = {
    "json": ReportWriter(".json", _text(report_json), timeline=False),
    "jsonl": ReportWriter(".jsonl", _text(report_json_lines), timeline=False),
    "csv": ReportWriter(".csv", _text(report_csv), timeline=False),
    "tsv": ReportWriter(".tsv", _text(report_tsv), timeline=False),
    "train-csv": ReportWriter(".train.csv", _placed(report_train_csv), check=not_trainable),
    "html": ReportWriter(".html", _placed(report_page), timeline=False),
    "srt": ReportWriter(".srt", _text(report_srt)),
    "vtt": ReportWriter(".vtt", _text(report_vtt)),
    "chapters": ReportWriter(".ffmetadata", _text(report_ffmetadata), single=True),
    "otio": ReportWriter(".otio", _placed(report_otio), frames=True, modules=(_OTIO,)),
    "edl": ReportWriter(
        ".edl",
        _placed(report_edl),
        frames=True,
        single=True,
        modules=(_OTIO, "otio_cmx3600_adapter"),
        check=_within_a_day,
    ),
    "fcp7": ReportWriter(
        ".fcp7.xml", _placed(report_fcp7), frames=True, modules=(_OTIO, "otio_fcp_adapter")
    ),
    "fcpxml": ReportWriter(".fcpxml", _placed(report_fcpxml), frames=True),
    "activitynet": ReportWriter(".activitynet.json", _text(report_activitynet)),
    "mstcn": ReportWriter(
        ".mstcn.txt",
        _text(report_mstcn),
        numbers=True,
        single=True,
        check=lambda report, place: labels_that_meet(report),
    ),
    "eaf": ReportWriter(".eaf", _placed(report_eaf), modules=("pympi",)),
    "labelstudio": ReportWriter(".labelstudio.json", _placed(report_label_studio), numbers=True),
    "cvat": ReportWriter(".cvat.xml", _text(report_cvat), numbers=True),
    "fiftyone": ReportWriter(".fiftyone.json", _text(report_fiftyone)),
}
"""Formats that hold a result, each in one text file."""

FURTHER_WRITERS: Mapping[str, ReportWriter] = {
    "stats": ReportWriter(".stats.csv", report_stats, check=without_scores),
    IMAGES: ReportWriter(".images", _not_text, check=_without_segments),
    SHEETS: ReportWriter(".contact-sheet.jpg", _not_text, check=_without_segments),
}
"""Formats that need more than a result: the scores of its frames, or the video. ``all`` leaves them
out."""


def shows_frames(names: Iterable[str]) -> bool:
    """Return whether any of these formats shows frames of the video."""
    return any(not every_writer()[name].is_text for name in names)


def every_writer() -> dict[str, ReportWriter]:
    """Return all formats, those of ``all`` first."""
    return {**WRITERS, **FURTHER_WRITERS}


def format_names(names: Iterable[str], *, timeline: bool = True) -> tuple[str, ...]:
    """Read the values of ``--format``: ``json,csv``, several options, or ``all``.

    ``all`` is every format of :data:`WRITERS` that can be written here; :func:`left_out` returns
    the others.

    Args:
        names: values of the option.
        timeline: whether results have a timeline, or only classes.

    Raises:
        UsageError: an unknown format, with a suggestion, or a format for timelines if there is
            none.
        MissingExtraError: the library of a named format is not installed.
    """
    parts = _parts(names)
    for part in parts:
        if part == _ALL:
            continue
        writer = lookup({**every_writer(), _ALL: None}, part, "format")
        assert writer is not None
        for module in filterfalse(installed, writer.modules):
            require(module, EXTRA)
        if writer.timeline and not timeline:
            raise UsageError(f"format {part} holds a timeline: use vtnstream timeline")
    if _ALL in parts:
        every = (
            name
            for name, writer in WRITERS.items()
            if all(map(installed, writer.modules)) and (timeline or not writer.timeline)
        )
        parts = [*every, *(part for part in parts if part in FURTHER_WRITERS)]
    return tuple(dict.fromkeys(parts))


def all_asked(names: Iterable[str]) -> bool:
    """Return whether ``all`` is among the values of ``--format``."""
    return _ALL in _parts(names)


def left_out() -> tuple[str, ...]:
    """Return the formats whose libraries are not installed."""
    return tuple(name for name, w in WRITERS.items() if not all(map(installed, w.modules)))


def _parts(names: Iterable[str]) -> list[str]:
    return [part.strip() for name in names for part in name.split(",") if part.strip()]


def remarks(report: Report, names: Iterable[str]) -> tuple[str, ...]:
    """Return remarks on a report in these formats, one sentence each."""
    found, names = [], tuple(names)
    base = Timebase.of(report)
    writers = every_writer()
    counting = [name for name in names if writers[name].frames]
    if counting and base is not None and not base.constant:
        found.append(
            f"{', '.join(counting)}: the frame rate varies or is uncertain: times are "
            f"placed on a timeline of {float(base.rate):.6g} frames/s"
        )
    count = len(report.segments or ())
    if "edl" in names and count > _MOST_EVENTS:
        found.append(
            f"edl: {count:,} events, but CMX 3600 numbers only {_MOST_EVENTS}: some programs "
            "ignore the others; use otio, fcpxml or fcp7"
        )
    silent = [name for name in names if name in _WITHOUT_SOUND]
    if silent and count and report.video.has_audio:
        found.append(f"{', '.join(silent)}: video only: the sound has no events in it")
    return tuple(found)
