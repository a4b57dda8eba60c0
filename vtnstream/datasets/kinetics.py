"""Kinetics' CSV: ``label,youtube_id,time_start,time_end,split[,is_cc]``, its clips named
``<id>_<start>_<end>.mp4`` with six digits each, flat or in a folder for each label."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vtnstream.datasets.lines import Annotation, Line, split_named
from vtnstream.datasets.lookup import VideoFolder, read_text
from vtnstream.errors import AnnotationError

_NEEDED = ("label", "youtube_id", "time_start", "time_end")


def read_kinetics(path: Path, videos: Path | None = None) -> tuple[list[Line], list[str]]:
    """One class a clip.

    Raises:
        AnnotationError: a column is missing, or a line is wrong (with its number).
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    lines = []
    try:
        absent = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
        if absent:
            raise AnnotationError(f"{path}: line 1: no column {', '.join(absent)}")
        folder = VideoFolder(path.parent if videos is None else videos, path)
        for row in reader:
            lines.append(_line(row, reader.line_num, folder, f"{path}: line {reader.line_num}"))
    except csv.Error as error:
        raise AnnotationError(f"{path}: line {reader.reader.line_num}: {error}") from error
    return lines, []


def _line(row: dict[str, str], number: int, folder: VideoFolder, where: str) -> Line:
    if any(not (row[name] or "").strip() for name in _NEEDED):
        raise AnnotationError(f"{where}: one of {', '.join(_NEEDED)} is empty")
    try:
        start, end = (round(float(row[name])) for name in ("time_start", "time_end"))
    except (ValueError, OverflowError) as error:
        raise AnnotationError(f"{where}: {error}") from error
    if not 0 <= start < end:
        raise AnnotationError(f"{where}: {start} to {end} does not run forward from 0")
    name = row["youtube_id"].strip()
    file = folder.find(f"{name}_{start:06d}_{end:06d}", name)
    split = split_named((row.get("split") or "").strip(), where)
    return Line(file, Annotation(row["label"].strip(), line=number), split=split)
