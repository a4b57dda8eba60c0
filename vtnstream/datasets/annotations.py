"""Annotation files: which video, or which part of it, shows what.

CSV with a header, or without one where it is plain which column is which::

    path,label[,fold][,scene][,split]             one class a video
    path,start,end,label[,fold][,scene][,split]   labelled segments of it

``start`` and ``end`` take every form of :func:`vtnstream.timecode.parse_time`; paths are
relative to the file's own folder. A wrong line is reported with its number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from vtnstream.errors import AnnotationError, UsageError
from vtnstream.labels import stable_order
from vtnstream.timecode import FrameCount, parse_time

Time = Fraction | FrameCount

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

SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid", "dev"),
    "test": ("test", "testing"),
}
_DELIMITERS = (",", ";", "\t")
_SHOWN_MISSING = 5


@dataclass(frozen=True, slots=True)
class Annotation:
    """One line: a label for the span ``[start, end)``, or for all of the video (None)."""

    label: str
    start: Time | None = None
    end: Time | None = None
    line: int = 0

    @property
    def is_segment(self) -> bool:
        return self.start is not None


@dataclass(frozen=True, slots=True)
class AnnotatedVideo:
    """One video and every line about it; ``fold``, ``group`` and ``split`` as in the file."""

    path: Path
    annotations: tuple[Annotation, ...]
    fold: str | None = None
    group: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Annotations:
    """A whole annotation file.

    Attributes:
        source: the file.
        videos: in order of first mention.
        labels: all labels in alphabetical order.
        has_segments: its lines are segments, not classes of whole videos.
        warnings: what was read but may not be meant.
    """

    source: Path
    videos: tuple[AnnotatedVideo, ...]
    labels: tuple[str, ...]
    has_segments: bool
    warnings: tuple[str, ...] = ()

    def missing(self) -> tuple[AnnotatedVideo, ...]:
        """Videos that are no file on this machine."""
        return tuple(video for video in self.videos if not video.path.is_file())


@dataclass(frozen=True, slots=True)
class _Line:
    """One parsed line."""

    path: Path
    annotation: Annotation
    fold: str | None
    group: str | None
    split: str | None


def read_annotations(path: str | Path, *, check_files: bool = True) -> Annotations:
    """Read a CSV of annotations.

    Args:
        path: the file; comma, semicolon or tab between columns, UTF-8 with or without BOM.
        check_files: refuse a file that names videos which do not exist.

    Raises:
        AnnotationError: unreadable, a wrong line (with its number), overlapping segments,
            or missing videos (listed).
    """
    path = Path(path)
    rows = _read_rows(path)
    first = rows[0][1]
    columns, warnings = _columns(path, first)
    body = rows[1:] if _header(first) else rows
    if not body:
        raise AnnotationError(f"{path}: only a header, no annotation")
    lines = [_parse(path, number, cells, columns, len(first)) for number, cells in body]
    segments = _all_segments(path, lines)
    videos, repeated = _videos(path, lines)
    if segments:
        for video in videos:
            check_overlaps(video.annotations, f"{path}: {video.path.name}")
    labels = stable_order(line.annotation.label for line in lines)
    result = Annotations(path, videos, labels, segments, (*warnings, *repeated))
    if check_files:
        refuse_missing(result)
    return result


def refuse_missing(annotations: Annotations) -> None:
    """Raises:
    AnnotationError: some videos do not exist; lists the first of them with their lines.
    """
    gone = annotations.missing()
    if not gone:
        return
    shown = ", ".join(f"line {v.annotations[0].line} {v.path}" for v in gone[:_SHOWN_MISSING])
    more = f" and {len(gone) - _SHOWN_MISSING} more" if len(gone) > _SHOWN_MISSING else ""
    raise AnnotationError(
        f"{annotations.source}: {len(gone)} of {len(annotations.videos)} videos do not exist: "
        f"{shown}{more} (paths are relative to the folder of this file)"
    )


def check_overlaps(annotations: Iterable[Annotation], where: str) -> None:
    """One label at a time: segments of a video may touch but not overlap. Frame counts and
    seconds are compared among themselves only, until the video's rate is known.

    Raises:
        AnnotationError: two segments overlap; names both lines.
    """
    seconds: list[tuple[Fraction, Fraction, int]] = []
    frames: list[tuple[Fraction, Fraction, int]] = []
    for item in annotations:
        if isinstance(item.start, Fraction) and isinstance(item.end, Fraction):
            seconds.append((item.start, item.end, item.line))
        elif isinstance(item.start, FrameCount) and isinstance(item.end, FrameCount):
            frames.append((Fraction(item.start.frames), Fraction(item.end.frames), item.line))
    for spans in (sorted(seconds), sorted(frames)):
        for before, after in pairwise(spans):
            if after[0] < before[1]:
                first, second = sorted((before[2], after[2]))
                raise AnnotationError(
                    f"{where}: the segments of lines {first} and {second} overlap; "
                    "each moment has one label"
                )


def _read_rows(path: Path) -> list[tuple[int, list[str]]]:
    """Lines with something in them, each with the number of its first line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise AnnotationError(f"{path}: line {line} is not UTF-8: save it as UTF-8") from error
    lines = list(io.StringIO(text, newline=""))  # str.splitlines knows more ends than CSV
    reader = csv.reader(lines, delimiter=_delimiter(lines), strict=True, skipinitialspace=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        begin = 1
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                rows.append((begin, stripped))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise AnnotationError(f"{path}: line {reader.line_num}: {error}") from error
    if not rows:
        raise AnnotationError(f"{path}: empty (expected lines of path,label)")
    return rows


def _delimiter(lines: Sequence[str]) -> str:
    first = next((line for line in lines if line.strip()), "")
    counts = {d: len(next(csv.reader([first], delimiter=d), [])) for d in _DELIMITERS}
    return max(_DELIMITERS, key=lambda d: (counts[d], -_DELIMITERS.index(d)))


def _header(cells: Sequence[str]) -> dict[str, int]:
    """Known columns by position, empty where the line is no header."""
    names = [cell.lower() for cell in cells]
    found: dict[str, int] = {}
    for column, aliases in COLUMNS.items():
        position = next((names.index(alias) for alias in aliases if alias in names), None)
        if position is not None:
            found[column] = position
    return found if {"path", "label"} <= set(found) else {}


def _columns(path: Path, first: Sequence[str]) -> tuple[dict[str, int], tuple[str, ...]]:
    found = _header(first)
    if not found:
        return _columns_without_header(path, first), ()
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
        f"{path}: line 1 is no header, and {len(first)} columns do not say which is which: "
        "write path,label or path,start,end,label on top"
    )


def _is_time(text: str) -> bool:
    try:
        parse_time(text)
    except UsageError:
        return False
    return True


def _parse(
    path: Path, number: int, cells: Sequence[str], columns: dict[str, int], width: int
) -> _Line:
    where = f"{path}: line {number}"
    needed = max(columns["path"], columns["label"]) + 1
    if not needed <= len(cells) <= width:
        raise AnnotationError(
            f"{where}: {len(cells)} columns instead of {width} "
            "(a comma inside a path or label needs quotes)"
        )

    def cell(name: str) -> str:
        position = columns.get(name)
        return "" if position is None or position >= len(cells) else cells[position]

    for name in ("path", "label"):
        if not cell(name):
            raise AnnotationError(f"{where}: the {name} is empty")
    start, end = _span(where, cell("start"), cell("end"))
    return _Line(
        path=path.parent / cell("path"),
        annotation=Annotation(cell("label"), start, end, number),
        fold=cell("fold") or None,
        group=cell("group") or None,
        split=_split(where, cell("split")),
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
        raise AnnotationError(f"{where}: end {end} does not lie after start {start}")
    return first, last


def _split(where: str, text: str) -> str | None:
    if not text:
        return None
    for name, aliases in SPLITS.items():
        if text.lower() in aliases:
            return name
    raise AnnotationError(f"{where}: split {text!r} is none of {', '.join(SPLITS)}")


def _all_segments(path: Path, lines: Sequence[_Line]) -> bool:
    """Whether all lines are segments (True) or whole videos (False)."""
    kinds = {line.annotation.is_segment for line in lines}
    if len(kinds) == 2:
        odd = next(i for i in lines if i.annotation.is_segment != lines[0].annotation.is_segment)
        has = "has start and end" if odd.annotation.is_segment else "has no start and end"
        raise AnnotationError(
            f"{path}: line {odd.annotation.line} {has}, line "
            f"{lines[0].annotation.line} is the other way round: annotate all lines alike"
        )
    return kinds == {True}


def _videos(
    path: Path, lines: Sequence[_Line]
) -> tuple[tuple[AnnotatedVideo, ...], tuple[str, ...]]:
    """Lines gathered by video; a repeated line counts once, a contradiction is refused."""
    gathered: dict[Path, list[_Line]] = {}
    for line in lines:
        gathered.setdefault(line.path, []).append(line)
    warnings: list[str] = []
    videos: list[AnnotatedVideo] = []
    for file, group in gathered.items():
        first = group[0]
        for line in group[1:]:
            if (line.fold, line.group, line.split) != (first.fold, first.group, first.split):
                raise AnnotationError(
                    f"{path}: line {line.annotation.line} puts {file.name} into another fold, "
                    f"scene or split than line {first.annotation.line}"
                )
        kept = list(_without_repeats(path, file, group, warnings))
        videos.append(AnnotatedVideo(file, tuple(kept), first.fold, first.group, first.split))
    return tuple(videos), tuple(warnings)


def _without_repeats(
    path: Path, file: Path, group: Sequence[_Line], warnings: list[str]
) -> Iterator[Annotation]:
    seen: dict[tuple[Time | None, Time | None], Annotation] = {}
    for line in group:
        item = line.annotation
        other = seen.setdefault((item.start, item.end), item)
        if other is item:
            yield item
        elif other.label == item.label:
            warnings.append(f"{path}: line {item.line} repeats line {other.line}")
        else:
            raise AnnotationError(
                f"{path}: line {item.line} calls {file.name} {item.label!r}, "
                f"line {other.line} calls it {other.label!r}: one label each"
            )
