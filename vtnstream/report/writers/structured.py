"""Write reports as JSON: the document, and the events of JSON lines.

Numbers are rounded to 1e-6; values that are not finite become null. Rational values are strings
(``"1/90000"``). File names that are not UTF-8 keep their bytes as escaped lone surrogates
(``"\\udcff"``), as in Python; JSON readers of other languages may show a replacement character
for them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from vtnstream.report.timebase import Timebase
from vtnstream.types import FrameIndex, Report, Segment
from vtnstream.types.results import PROBABILITY

SCHEMA = "vtnstream/report/1"
"""Name and version of the document. Keys may be added within a version; existing keys never
change."""

_DIGITS = 6
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that JSON allows but that are written as escapes: lone surrogates, which UTF-8 cannot
hold, line separators, and controls and direction marks, which act on a terminal."""


# ----------------------------------------------------------------------------- to JSON


def report_document(report: Report) -> dict[str, Any]:
    """Convert a report to plain JSON data, ready for ``json.dumps(allow_nan=False)``."""
    segments = report.segments
    partial = None if report.partial is None else dataclasses.asdict(report.partial)
    attention = None if report.attention is None else dataclasses.asdict(report.attention)
    timebase = Timebase.of(report)
    document = {
        "schema": SCHEMA,
        "input": report.input,
        "video": {f.name: getattr(report.video, f.name) for f in dataclasses.fields(report.video)},
        "model": report.model,
        "sampling": report.sampling,
        "range": {"start": report.start_seconds, "end": report.end_seconds},
        "timebase": None if timebase is None else _timebase_document(timebase),
        "frames": None if report.frames is None else _frames_document(report.frames),
        "classes": [{"label": c.label, "score": c.score} for c in report.classes],
        "labels": report.labels,
        "segments": (
            None if segments is None else [segment_document(s, timebase) for s in segments]
        ),
        "partial": partial,
        "settings": report.settings,
        "attention": attention,
        "scores": [dataclasses.asdict(curve) for curve in report.scores],
        "run": report.run,
        "warnings": report.warnings,
    }
    if report.heads:
        document["heads"] = [dataclasses.asdict(head) for head in report.heads]
    if report.answers:
        document["answers"] = [dataclasses.asdict(answer) for answer in report.answers]
    if report.score_name != PROBABILITY:
        document["score_name"] = report.score_name
    plain: dict[str, Any] = plain_data(document)
    return plain


def _timebase_document(timebase: Timebase) -> dict[str, Any]:
    """Return the rate of the frame numbers and timecodes of segments."""
    return {
        "rate": timebase.rate,
        "constant": timebase.constant,
        "drop_frame": timebase.drop_frame,
    }


def _frames_document(frames: FrameIndex) -> dict[str, Any]:
    """Return the frame numbers: their count, and runs of equal distances.

    A run is its first number, its count, and its first and last tick.
    """
    return {
        "count": frames.count,
        "until": frames.until,
        "runs": [[run.first, run.count, run.first_tick, run.last_tick] for run in frames.runs],
    }


def segment_document(segment: Segment, timebase: Timebase | None) -> dict[str, Any]:
    """Convert one segment.

    It has ``track`` only if the report has several, ``shot`` only for a numbered shot, ``frames``
    of start and end only if frames were counted, and ``timecode`` only if the video's rate has one.
    """
    document: dict[str, Any] = {
        "start": segment.start,
        "end": segment.end,
        "label": segment.label,
        "score": segment.score,
    }
    if segment.track is not None:
        document["track"] = segment.track
    if segment.rank is not None:
        document["rank"] = segment.rank
    if segment.shot is not None:
        document["shot"] = segment.shot
    if timebase is not None:
        times = (segment.start, segment.end)
        frames = [timebase.frame(t) for t in times]
        if None not in frames:
            document["frames"] = frames
        timecode = [timebase.timecode(t) for t in times]
        if None not in timecode:
            document["timecode"] = timecode
    plain: dict[str, Any] = plain_data(document)
    return plain


def failure_document(path: str, message: str) -> dict[str, Any]:
    """Return the document of an input that failed."""
    return {"schema": SCHEMA, "input": path, "error": message}


def absence_document(library: str, labels: Sequence[str]) -> dict[str, Any]:
    """What says that no video of a library shows some queries."""
    answers = [{"label": label, "found": False} for label in labels]
    return {"schema": SCHEMA, "library": library, "answers": answers}


def report_json(report: Report) -> str:
    """Write the document with one class, segment or fact per line, for readers and line-based
    diffs."""
    items = (f"{_dumps(k)}: {_entries(v)}" for k, v in report_document(report).items())
    return "{\n  " + ",\n  ".join(items) + "\n}\n"


def _entries(value: Any) -> str:
    if isinstance(value, dict) and value:
        lines = [f"{_dumps(key)}: {_dumps(item)}" for key, item in value.items()]
        return "{\n    " + ",\n    ".join(lines) + "\n  }"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "[\n    " + ",\n    ".join(map(_dumps, value)) + "\n  ]"
    return _dumps(value)


def _dumps(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def plain_data(value: Any) -> Any:
    """Convert to JSON data: mappings, lists, strings, whole numbers, finite rounded numbers,
    null."""
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, np.generic):
        return plain_data(value.item())
    if isinstance(value, float):
        return round(value, _DIGITS) + 0.0 if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_data(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(map(str, value))
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Fraction):
        return str(value)
    raise TypeError(f"a report cannot hold {type(value).__name__}: {value!r}")


# ------------------------------------------------------------------------------ events


def event(kind: str, path: str, **fields: Any) -> dict[str, Any]:
    """Return one event about one input.

    Args:
        kind: ``start``, ``progress``, ``segment``, ``result`` or ``error``.
        path: the input, as given by the user.
        fields: data of the event.
    """
    return {"event": kind, "input": path, **plain_data(fields)}


def report_events(report: Report) -> Iterator[dict[str, Any]]:
    """Yield the events of a finished report: each segment, then ``result`` with the other data.

    ``num_segments`` of the result is null if no timeline was requested.
    """
    timebase = Timebase.of(report)
    for segment in report.segments or ():
        yield event("segment", report.input, **segment_document(segment, timebase))
    document = report_document(report)
    segments = document.pop("segments")
    del document["input"]
    count = None if segments is None else len(segments)
    yield event("result", report.input, **document, num_segments=count)


def json_line(document: Mapping[str, Any]) -> str:
    """Return one line of JSON lines, with its line break."""
    return _dumps(plain_data(document)) + "\n"


def report_json_lines(report: Report) -> str:
    """Write the events of a finished report, one per line."""
    start = event("start", report.input)
    return "".join(map(json_line, (start, *report_events(report))))
