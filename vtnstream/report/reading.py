"""Read stored JSON reports as :class:`Report`, for ``show`` and ``export``."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
import typing
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from vtnstream.errors import ReportError
from vtnstream.report.writers.structured import SCHEMA
from vtnstream.types import (
    ClassScore,
    Curve,
    FrameIndex,
    FrameRun,
    HeadClasses,
    Partial,
    QueryAnswer,
    Report,
    ScoreCurve,
    Segment,
    VideoInfo,
)
from vtnstream.types.results import MATCH, PROBABILITY

T = TypeVar("T")

_SCHEMA = re.compile(r"vtnstream/report/(\d+)")
_RATIONAL = re.compile(r"-?\d{1,30}(/\d{1,30})?")
_VERSION = int(SCHEMA.rpartition("/")[2])
_A_RESULT = "a result is written by `vtnstream timeline VIDEO -o DIR`"
_LATEST = 1e8
"""Latest end of a segment in seconds (three years). No video is longer."""


def read_report(path: str | Path) -> Report:
    """Read a report from a file that ``-f json`` or ``--json`` wrote.

    Raises:
        ReportError: the file cannot be read or is not a report.
    """
    return report_from_json(_bytes(path), where=str(path))


def read_reports(path: str | Path) -> tuple[list[Report], list[str]]:
    """Read all reports of a file, which may hold an array of them as ``--json`` prints for
    several inputs.

    Returns:
        The reports, and one line for each document that is not a report.

    Raises:
        ReportError: the file cannot be read or is not JSON.
    """
    return reports_from_json(_bytes(path), where=str(path))


def reports_from_json(text: str | bytes, *, where: str) -> tuple[list[Report], list[str]]:
    """Read all reports in the text of a file, as :func:`read_reports` does."""
    document = _parsed(text, where)
    if not isinstance(document, list):
        return [_report(document, where)], []
    reports: list[Report] = []
    problems: list[str] = []
    for number, item in enumerate(document, 1):
        if isinstance(item, dict) and "library" in item:  # says what no video shows
            continue
        try:
            reports.append(_report(item, f"{where}: result {number}"))
        except ReportError as error:
            problems.append(str(error))
    return reports, problems


def report_from_json(text: str | bytes, *, where: str = "report") -> Report:
    """Convert a JSON document to a report.

    Unknown keys are ignored; a score of null becomes NaN.

    Args:
        text: the document.
        where: name of the document in messages, for instance the file.

    Raises:
        ReportError: the text is not JSON, not a report, of a newer version, of a failed input, or
            holds invalid values.
    """
    return _report(_parsed(text, where), where)


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ReportError(f"{path}: cannot be read ({reason})") from error


def _parsed(text: str | bytes, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise ReportError(f"{where}: not JSON, but a binary file; {_A_RESULT}") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{where}: not JSON, as results are; {_A_RESULT}") from error


def _report(document: Any, where: str) -> Report:
    _check_schema(document, where)
    if "error" in document:
        raise ReportError(f"{where}: holds no result: {document['error']}")
    segments = document.get("segments")
    partial = document.get("partial")
    attention = document.get("attention")
    span = _expect(document.get("range", {}), dict, f"{where}: range")
    report = Report(
        input=_expect(document.get("input"), str, f"{where}: input"),
        video=_record(VideoInfo, document.get("video"), f"{where}: video"),
        model=_expect(document.get("model"), dict, f"{where}: model"),
        classes=_records(ClassScore, document.get("classes", []), f"{where}: classes"),
        segments=None if segments is None else _records(Segment, segments, f"{where}: segments"),
        labels=_value(tuple[str, ...], document.get("labels", []), f"{where}: labels"),
        start_seconds=_value(float, span.get("start", 0.0), f"{where}: range"),
        end_seconds=_value(float, span.get("end", 0.0), f"{where}: range"),
        partial=None if partial is None else _record(Partial, partial, f"{where}: partial"),
        sampling=_expect(document.get("sampling", {}), dict, f"{where}: sampling"),
        settings=_expect(document.get("settings", {}), dict, f"{where}: settings"),
        attention=None if attention is None else _record(Curve, attention, f"{where}: attention"),
        scores=_records(ScoreCurve, document.get("scores", []), f"{where}: scores"),
        frame_rate=_frame_rate(document.get("timebase"), f"{where}: timebase"),
        frames=_frames(document.get("frames"), f"{where}: frames"),
        run=_expect(document.get("run", {}), dict, f"{where}: run"),
        warnings=_value(tuple[str, ...], document.get("warnings", []), f"{where}: warnings"),
        answers=_records(QueryAnswer, document.get("answers", []), f"{where}: answers"),
        heads=_heads(document.get("heads", []), f"{where}: heads"),
        score_name=_score_name(document.get("score_name", PROBABILITY), f"{where}: score_name"),
    )
    _check_segments(report, where)
    return report


def _heads(items: Any, where: str) -> tuple[HeadClasses, ...]:
    """Read the classes by each of several class heads."""
    found = []
    for number, item in enumerate(_expect(items, list, where), 1):
        at = f"{where}: {number}"
        values = _expect(item, dict, at)
        name: str = _expect(values.get("name"), str, f"{at}: name")
        classes = _records(ClassScore, values.get("classes", []), f"{at}: classes")
        found.append(HeadClasses(name, classes))
    return tuple(found)


def _score_name(value: Any, where: str) -> str:
    name: str = _expect(value, str, where)
    if name not in (PROBABILITY, MATCH):
        raise ReportError(f"{where}: expected {PROBABILITY} or {MATCH}, got {name[:40]!r}")
    return name


def _frame_rate(timebase: Any, where: str) -> Fraction | None:
    """Return the frame rate if it is constant."""
    if timebase is None or not _expect(timebase, dict, where).get("constant"):
        return None
    rate = _fraction(timebase.get("rate"), f"{where}: rate")
    if not 0 < rate <= 1000:
        raise ReportError(f"{where}: not a rate in frames per second: {rate}")
    return rate


def _frames(document: Any, where: str) -> FrameIndex | None:
    """Read the frame numbers."""
    if document is None:
        return None
    values = _expect(document, dict, where)
    runs: list[FrameRun] = []
    for item in _expect(values.get("runs"), list, f"{where}: runs"):
        numbers = _value(tuple[int, int, int, int], item, f"{where}: runs")
        run = FrameRun(*numbers)
        before = runs[-1] if runs else None
        if (
            run.first < (before.stop if before else 0)
            or run.count < 1
            or run.first_tick <= (before.last_tick if before else -math.inf)
            or (run.last_tick <= run.first_tick) is (run.count > 1)
        ):
            raise ReportError(f"{where}: runs are out of order at {list(numbers)}")
        runs.append(run)
    until = values.get("until")
    if not runs:
        raise ReportError(f"{where}: runs are missing")
    return FrameIndex(tuple(runs), None if until is None else _expect(until, int, where))


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _check_schema(document: Any, where: str) -> None:
    schema = document.get("schema") if isinstance(document, dict) else None
    match = _SCHEMA.fullmatch(schema) if isinstance(schema, str) else None
    if match is None:
        several = " (an array: take one document out of it)" if isinstance(document, list) else ""
        raise ReportError(f'{where}: not a vtnstream report: no "schema": "{SCHEMA}"{several}')
    if int(match[1]) > _VERSION:
        raise ReportError(f"{where}: {schema} is newer than this vtnstream: update it")


def _check_segments(report: Report, where: str) -> None:
    for number, segment in enumerate(report.segments or (), 1):
        if segment.start < 0:
            raise ReportError(f"{where}: segment {number} starts before 0: {segment.start}")
        if segment.end > _LATEST:
            raise ReportError(
                f"{where}: segment {number} ({segment.label!r}) ends after years: {segment.end}"
            )
        if segment.start > segment.end:
            raise ReportError(
                f"{where}: segment {number} ({segment.label!r}) ends before it starts: "
                f"start {segment.start}, end {segment.end}"
            )


def _records(cls: type[T], items: Any, where: str) -> tuple[T, ...]:
    values, fields = _expect(items, list, where), _fields(cls)
    return tuple(_record(cls, item, f"{where}: {i}", fields) for i, item in enumerate(values, 1))


_Fields = Mapping[str, tuple[Any, bool]]
"""Field name -> type, and whether the field is required."""


def _fields(cls: type[Any]) -> _Fields:
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    return {f.name: (hints[f.name], f.default is missing) for f in dataclasses.fields(cls)}


def _record(cls: type[T], data: Any, where: str, fields: _Fields | None = None) -> T:
    """Build a flat dataclass from a mapping; fields with a default may be absent."""
    values = _expect(data, dict, where)
    found: dict[str, Any] = {}
    for name, (hint, required) in (fields or _fields(cls)).items():
        if name == "score" and name in values and values[name] is None:
            found[name] = math.nan
        elif name in values:
            found[name] = _value(hint, values[name], f"{where}: {name}")
        elif required:
            raise ReportError(f"{where}: {name} is missing")
    return cls(**found)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else _value(inner[0], value, where)
    if origin is tuple:
        items = _expect(value, list, where)
        if inner[-1] is not Ellipsis and len(items) != len(inner):
            raise ReportError(f"{where}: expected {len(inner)} values, got {len(items)}")
        return tuple(_value(inner[0], item, where) for item in items)
    if hint is float:
        return _finite(_expect(value, (int, float), where), where)
    if hint is Fraction:
        return _fraction(value, where)
    return _expect(value, hint, where)


def _finite(value: int | float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ReportError(f"{where}: too large a number")
    return number


def _fraction(value: Any, where: str) -> Fraction:
    text = str(_expect(value, (str, int), where))
    try:
        if _RATIONAL.fullmatch(text):
            return Fraction(text)
    except ZeroDivisionError:
        pass
    raise ReportError(f"{where}: not a rational number: {text[:40]!r}")


def _expect(value: Any, kinds: type[Any] | tuple[type[Any], ...], where: str) -> Any:
    # In Python a bool is an int; in a report it is not.
    if isinstance(value, kinds) and not (isinstance(value, bool) and kinds is not bool):
        return value
    names = kinds if isinstance(kinds, tuple) else (kinds,)
    wanted = " or ".join(
        {"dict": "object", "list": "array"}.get(k.__name__, k.__name__) for k in names
    )
    raise ReportError(f"{where}: expected {wanted}, got {json.dumps(value)[:40]}")
