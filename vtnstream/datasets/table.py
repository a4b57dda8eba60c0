"""The project's own CSV of annotations, with a header, or without one where it is plain which
column is which::

    path,label[,fold][,scene][,split]             one class a video
    path,start,end,label[,fold][,scene][,split]   labelled segments of it

Columns ``label:verb,label:noun`` in place of ``label`` are the labels of several class heads.
A line of segments with nothing but a path names a video without segments, which evaluation counts.
``start`` and ``end`` take every form of :func:`vtnstream.timecode.parse_time`; paths are
relative to the file's own folder.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from vtnstream.config.class_heads import check_head_names
from vtnstream.datasets.lines import Annotation, Line, Time, split_named
from vtnstream.datasets.lookup import read_text
from vtnstream.errors import AnnotationError, ConfigError, UsageError
from vtnstream.timecode import FrameCount, parse_time

COLUMNS = {
    "path": ("path", "video", "file", "filename", "file_name"),
    "label": ("label", "class", "action"),
    "start": ("start", "start_seconds", "begin"),
    "end": ("end", "end_seconds", "stop"),
    "fold": ("fold",),
    "group": ("group", "scene"),
    "split": ("split", "subset"),
}
"""Columns and the names a header may call them; others are left alone."""

_HEAD = "label:"
"""Begins the name of a column with the labels of one of several class heads."""
_DELIMITERS = (",", ";", "\t")
_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)
_DECIMAL = re.compile(r"(?:\d+:){0,2}\d+,\d+s?")


def read_table(path: Path, videos: Path | None = None) -> tuple[list[Line], list[str]]:
    """Lines of a CSV, and a sentence for each thing that may not be meant.

    Args:
        path: the file; comma, semicolon or tab between columns (or what a first line ``sep=``
            names), times with a decimal point, or a comma where that separates no columns; UTF-8
            or UTF-16.
        videos: folder that paths are relative to; None is that of the file.

    Raises:
        AnnotationError: unreadable, or a wrong line (with its number).
    """
    rows, delimiter = read_rows(path)
    rows = _points(rows, delimiter)
    first = rows[0][1]
    columns, warnings = _columns(path, first)
    body = rows[1:] if _header(first) else rows
    if not body:
        raise AnnotationError(f"{path}: only a header, no annotation")
    root = path.parent if videos is None else videos
    return [_parse(path, root, number, cells, columns, len(first)) for number, cells in body], list(
        warnings
    )


def read_rows(path: Path) -> tuple[list[tuple[int, list[str]]], str]:
    """Lines with something in them, each with the number of its first line; and the delimiter."""
    text = read_text(path)
    lines = list(io.StringIO(text, newline=""))  # str.splitlines knows more ends than CSV
    named = _SEPARATOR.fullmatch(lines[0].strip()) if lines else None
    begin = 1
    if named is not None:  # a first line that spreadsheets write for each other
        lines, begin = lines[1:], 2
    delimiter = named[1] if named is not None else _delimiter(lines)
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    skipped = begin - 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                rows.append((begin, stripped))
            begin = reader.line_num + skipped + 1
    except csv.Error as error:
        raise AnnotationError(f"{path}: line {reader.line_num + skipped}: {error}") from error
    if not rows:
        raise AnnotationError(f"{path}: empty (expected lines of path,label)")
    return rows, delimiter


def _delimiter(lines: Sequence[str]) -> str:
    first = next((line for line in lines if line.strip()), "")
    counts = {d: len(next(csv.reader([first], delimiter=d), [])) for d in _DELIMITERS}
    return max(_DELIMITERS, key=lambda d: (counts[d], -_DELIMITERS.index(d)))


def _points(rows: list[tuple[int, list[str]]], delimiter: str) -> list[tuple[int, list[str]]]:
    """Times with a decimal comma, as spreadsheets of many countries write them, with a point."""
    if delimiter == ",":
        return rows
    return [
        (number, [cell.replace(",", ".") if _DECIMAL.fullmatch(cell) else cell for cell in cells])
        for number, cells in rows
    ]


def _header(cells: Sequence[str]) -> dict[str, int]:
    """Known columns by position, empty where the line is no header."""
    names = [cell.lower() for cell in cells]
    found: dict[str, int] = {}
    for column, aliases in COLUMNS.items():
        position = next((names.index(alias) for alias in aliases if alias in names), None)
        if position is not None:
            found[column] = position
    if "label" not in found:
        found |= {name: place for place, name in enumerate(names) if name.startswith(_HEAD)}
    return found if "path" in found and any(map(_is_label, found)) else {}


def _is_label(column: str) -> bool:
    return column == "label" or column.startswith(_HEAD)


def _check_heads(path: Path, columns: Iterable[str]) -> None:
    """Check the names of the class heads in the header.

    Raises:
        AnnotationError: they are no names of several heads.
    """
    names = [column.removeprefix(_HEAD) for column in columns if column.startswith(_HEAD)]
    try:
        check_head_names(names, f"{path}: line 1")
    except ConfigError as error:
        raise AnnotationError(str(error)) from error


def _columns(path: Path, first: Sequence[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    found = _header(first)
    if not found:
        return _columns_without_header(path, first), ()
    _check_heads(path, found)
    if ("start" in found) != ("end" in found):
        raise AnnotationError(f"{path}: line 1: columns start and end go together")
    used = set(found.values())
    unused = [cell for position, cell in enumerate(first) if position not in used and cell]
    if unused:
        return found, (f"{path}: columns not used: {', '.join(unused)}",)
    return found, ()


def _columns_without_header(path: Path, first: Sequence[str]) -> dict[str, int]:
    if len(first) == 2:
        return {"path": 0, "label": 1}
    if len(first) == 4 and _is_time(first[1]) and _is_time(first[2]):
        return {"path": 0, "start": 1, "end": 2, "label": 3}
    raise AnnotationError(
        f"{path}: line 1 is not a header, and {len(first)} columns do not say which is which: "
        "write path,label or path,start,end,label on top"
    )


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except UsageError:
        return False
    return True


def _parse(
    path: Path, root: Path, number: int, cells: Sequence[str], columns: dict[str, int], width: int
) -> Line:
    where = f"{path}: line {number}"
    heads = [column for column in columns if _is_label(column)]
    needed = max(columns[column] for column in ("path", *heads)) + 1
    if not needed <= len(cells) <= width:
        raise AnnotationError(
            f"{where}: {len(cells)} columns instead of {width} "
            "(a comma inside a path or label needs quotes)"
        )

    def cell(name: str) -> str:
        position = columns.get(name)
        return "" if position is None or position >= len(cells) else cells[position]

    if not cell("path"):
        raise AnnotationError(f"{where}: the path is empty")
    # A table of segments names a video without any by a line with nothing but its path.
    bare = "start" in columns and not any(map(cell, (*heads, "start", "end")))
    if not bare and not all(map(cell, heads)):
        raise AnnotationError(f"{where}: the label is empty")
    start, end = _span(where, cell("start"), cell("end"))
    if heads == ["label"]:
        annotation = Annotation(cell("label"), start, end, number)
    else:
        named = {head.removeprefix(_HEAD): cell(head) for head in heads}
        annotation = Annotation.of_heads(named, start, end, number)
    return Line(
        path=root / cell("path"),
        annotation=None if bare else annotation,
        number=number,
        fold=cell("fold") or None,
        group=cell("group") or None,
        split=split_named(cell("split"), where),
    )


def _span(where: str, start: str, end: str) -> tuple[Time | None, Time | None]:
    if not start and not end:
        return None, None
    if not start or not end:
        raise AnnotationError(f"{where}: start and end go together, one is empty")
    try:
        first, last = parse_time(start), parse_time(end)
    except UsageError as error:
        raise AnnotationError(f"{where}: {error}") from error
    if isinstance(first, FrameCount) != isinstance(last, FrameCount):
        raise AnnotationError(f"{where}: start and end must both be seconds or both be frames")
    begin = first.frames if isinstance(first, FrameCount) else first
    stop = last.frames if isinstance(last, FrameCount) else last
    if stop <= begin:
        raise AnnotationError(f"{where}: end {end} is not after start {start}")
    return first, last
