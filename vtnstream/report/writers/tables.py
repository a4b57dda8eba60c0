"""Write reports as CSV and TSV: one row per segment, or one per class without a timeline.

The first row names the columns. Fields are quoted if necessary (RFC 4180), and lines end with a
line feed. Several tracks follow one another. Labels are safe to open in a spreadsheet: control
characters become escapes, and a label that would be read as a formula (``=``, ``+``, ``-``, ``@``
first) gets an apostrophe before it; JSON has labels unchanged. Frame numbers are empty if frames
were not counted, and timecode if the rate has none. A column ``shot`` with the numbers of shots is
the last one, if there are any.
"""

from __future__ import annotations

import csv
import io
import math
import os
from itertools import chain
from urllib.parse import unquote_to_bytes

from vtnstream.report.facts import class_lists
from vtnstream.report.place import Place
from vtnstream.report.terminal.glyphs import printable
from vtnstream.report.timebase import Timebase
from vtnstream.report.writers.lanes import tracks_of
from vtnstream.types import Report, Segment

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
_COLUMNS = ("start", "end", "label", "score")
_FRAME_COLUMNS = ("start_frame", "end_frame", "start_timecode", "end_timecode")


def report_csv(report: Report) -> str:
    """Write comma-separated values."""
    return _table(report, ",")


def report_tsv(report: Report) -> str:
    """Write tab-separated values."""
    return _table(report, "\t")


def _table(report: Report, delimiter: str) -> str:
    rows: list[tuple[str, ...]]
    if report.segments is None:
        rows = [("label", "score", *(("head",) if report.heads else ()))]
        for name, classes in class_lists(report):
            head = (_label(name),) if name else ()
            rows += [(_label(c.label), decimal(c.score), *head) for c in classes]
    else:
        tracks = any(s.track is not None for s in report.segments)
        shots = any(s.shot is not None for s in report.segments)
        rows = [
            (
                *(*_COLUMNS, *(("track",) if tracks else ()), *_FRAME_COLUMNS),
                *(("shot",) if shots else ()),
            )
        ]
        base = Timebase.of(report)
        for s in chain.from_iterable(tracks_of(report.segments).values()):
            row = (decimal(s.start), decimal(s.end), _label(s.label), decimal(s.score))
            number = "" if s.shot is None else str(s.shot)
            row = (*row, *((s.track or "",) if tracks else ()), *_frames(s, base))
            rows.append((*row, *((number,) if shots else ())))
    return "".join(delimiter.join(cell(f, delimiter) for f in row) + "\n" for row in rows)


def _frames(segment: Segment, base: Timebase | None) -> tuple[str, ...]:
    if base is None:
        return ("",) * len(_FRAME_COLUMNS)
    times = (segment.start, segment.end)
    cells = [*map(base.frame, times), *map(base.timecode, times)]
    return tuple("" if cell is None else str(cell) for cell in cells)


def _label(text: str) -> str:
    text = printable(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


def cell(text: str, delimiter: str) -> str:
    """Return a field, quoted if necessary."""
    if any(character in text for character in (delimiter, '"')):
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text


def decimal(value: float) -> str:
    """Format plain decimals, rounded to 1e-6; empty for a number that is not finite."""
    if not math.isfinite(value):
        return ""
    digits = f"{value + 0.0:.6f}".rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits


def report_train_csv(report: Report, place: Place) -> str:
    """Write segments as annotations that ``vtnstream train`` reads, to be corrected by hand.

    The columns are ``path,start,end,label``; the path is relative to the file's folder, and
    labels are unchanged (:func:`not_trainable` refuses those that a spreadsheet would change or
    run). Scores are left out, because they are not annotations.
    """
    path = _path(report, place)
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("path", "start", "end", "label"))
    for s in report.segments or ():
        rows.writerow((path, decimal(s.start), decimal(s.end), s.label))
    return out.getvalue()


def not_trainable(report: Report, place: Place) -> str | None:
    """Return why the segments cannot be written as annotations; None if they can."""
    cells = {_path(report, place), *(segment.label for segment in report.segments or ())}
    changed = sorted(cell for cell in cells if _label(cell) != cell)
    if not changed:
        return None
    return (
        "labels and paths with control characters, or that a spreadsheet would take for a formula, "
        f"cannot be read back from it ({printable(changed[0])}): use json"
    )


def _path(report: Report, place: Place) -> str:
    """Return the path of the video for annotations; it never begins like a formula."""
    path = report.input
    if place.relative is not None:
        path = os.fsdecode(unquote_to_bytes(place.relative)).removeprefix("./")
        return f"./{path}" if path.lstrip().startswith(_FORMULA) else path
    if "://" not in path and path != "-":
        return os.path.abspath(path)
    return path
