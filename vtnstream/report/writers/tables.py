"""Reports as CSV and TSV: one row a segment, or one a class where there is no timeline.

The first row names the columns. Fields are quoted where they must be (RFC 4180), lines end
with a line feed. Of several tracks, one follows after the other. Labels are safe to open in a
spreadsheet: control characters become escapes, and one that would be taken for a formula
(``=``, ``+``, ``-``, ``@`` first) gets an apostrophe before it; JSON has labels as they are.
Frame numbers are empty where frames were not counted, timecode where the rate has none.
"""

from __future__ import annotations

import csv
import io
import math
import os
from itertools import chain
from urllib.parse import unquote_to_bytes

from vtnstream.report.place import Place
from vtnstream.report.terminal.glyphs import printable
from vtnstream.report.timebase import Timebase
from vtnstream.report.writers.lanes import tracks_of
from vtnstream.types import Report, Segment

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_COLUMNS = ("start", "end", "label", "score")
_FRAME_COLUMNS = ("start_frame", "end_frame", "start_timecode", "end_timecode")


def report_csv(report: Report) -> str:
    """Comma-separated values."""
    return _table(report, ",")


def report_tsv(report: Report) -> str:
    """Tab-separated values."""
    return _table(report, "\t")


def _table(report: Report, delimiter: str) -> str:
    rows: list[tuple[str, ...]]
    if report.segments is None:
        rows = [("label", "score")]
        rows += [(_label(c.label), _number(c.score)) for c in report.classes]
    else:
        tracks = any(s.track is not None for s in report.segments)
        rows = [(*_COLUMNS, *(("track",) if tracks else ()), *_FRAME_COLUMNS)]
        base = Timebase.of(report)
        for s in chain.from_iterable(tracks_of(report.segments).values()):
            row = (_number(s.start), _number(s.end), _label(s.label), _number(s.score))
            rows.append((*row, *((s.track or "",) if tracks else ()), *_frames(s, base)))
    return "".join(delimiter.join(_field(f, delimiter) for f in row) + "\n" for row in rows)


def _frames(segment: Segment, base: Timebase | None) -> tuple[str, ...]:
    if base is None:
        return ("",) * len(_FRAME_COLUMNS)
    times = (segment.start, segment.end)
    cells = [*map(base.frame, times), *map(base.timecode, times)]
    return tuple("" if cell is None else str(cell) for cell in cells)


def _label(text: str) -> str:
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def _field(text: str, delimiter: str) -> str:
    """Quoted where it must be."""
    if any(character in text for character in (delimiter, '"')):
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text


def _number(value: float) -> str:
    """Plain decimals, rounded to 1e-6; empty where there is no number."""
    if not math.isfinite(value):
        return ""
    digits = f"{value + 0.0:.6f}".rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits


def report_train_csv(report: Report, place: Place) -> str:
    """Segments as annotations that ``vtnstream train`` reads, to be corrected by hand.

    Columns ``path,start,end,label``; the path is relative to the file's folder, labels are as
    they are (:func:`not_trainable` refuses those that a spreadsheet would change or run). Scores
    are left out: they are not annotations.
    """
    path = _path(report, place)
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("path", "start", "end", "label"))
    for s in report.segments or ():
        rows.writerow((path, _number(s.start), _number(s.end), s.label))
    return out.getvalue()


def not_trainable(report: Report, place: Place) -> str | None:
    """Say why the segments cannot be written as annotations; None if they can."""
    cells = {_path(report, place), *(segment.label for segment in report.segments or ())}
    changed = sorted(cell for cell in cells if _label(cell) != cell)
    if not changed:
        return None
    return (
        "labels and paths with control characters, or that a spreadsheet would take for a formula, "
        f"cannot be read back from it ({printable(changed[0])}): use json"
    )


def _path(report: Report, place: Place) -> str:
    """The path of the video for annotations; never the beginning of a formula."""
    path = report.input
    if place.relative is not None:
        path = os.fsdecode(unquote_to_bytes(place.relative)).removeprefix("./")
        return f"./{path}" if path.lstrip().startswith(_FORMULA) else path
    if "://" not in path and path != "-":
        return os.path.abspath(path)
    return path
