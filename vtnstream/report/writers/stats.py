"""Write the scores of each token as CSV: the numbers by which a timeline was cut.

There is one row per token, with the number of its frame from 0, its start in seconds and its
timecode, and one column per number. Frame numbers are empty if frames were not counted, timecode if
the rate has none, and a number if it was not measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import BinaryIO

from vtnstream.report.place import Place
from vtnstream.report.timebase import Timebase
from vtnstream.report.writers.tables import cell, decimal
from vtnstream.types import FrameScores, Report

_BLOCK = 4096
_COLUMNS = ("frame", "seconds", "timecode")
_DIGITS = 6


def report_stats(report: Report, place: Place, file: BinaryIO) -> None:
    """Write the rows in blocks, because a video may have millions of frames."""
    scores = report.frame_scores
    if scores is None:
        raise AssertionError("a report without scores of its frames was not refused")
    head = ",".join(cell(name, ",") for name in (*_COLUMNS, *scores.columns))
    file.write(f"{head}\n".encode("utf-8", "backslashreplace"))
    base = Timebase.of(report)
    for first in range(0, len(scores.times), _BLOCK):
        file.write("".join(_rows(scores, base, first)).encode())


def _rows(scores: FrameScores, base: Timebase | None, first: int) -> Iterator[str]:
    starts = scores.times.start_seconds[first : first + _BLOCK].tolist()
    values = scores.values[first : first + _BLOCK].tolist()
    for seconds, row in zip(starts, values, strict=True):
        frame = base.frame(seconds) if base is not None else None
        timecode = base.timecode(seconds) if base is not None else None
        lead = ("" if frame is None else str(frame), decimal(seconds), timecode or "")
        yield ",".join((*lead, *map(_number, row))) + "\n"


def _number(value: float) -> str:
    return f"{value:.{_DIGITS}g}" if math.isfinite(value) else ""


def without_scores(report: Report, place: Place) -> str | None:
    """Return why a report has no scores of its frames; None if it has."""
    if report.frame_scores is not None:
        return None
    return (
        "it holds the scores of every frame, which no stored result has: write it with vtnstream "
        "timeline VIDEO -f stats, or batch timeline (stored outputs are used, nothing is decoded "
        "again)"
    )
