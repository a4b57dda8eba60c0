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
    absent = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
    if absent:
        raise AnnotationError(f"{path}: line 1: no column {', '.join(absent)}")
    folder = VideoFolder(path.parent if videos is None else videos, path)
    lines = []
    for row in reader:
        where = f"{path}: line {reader.line_num}"
        if any(not (row[name] or "").strip() for name in _NEEDED):
            raise AnnotationError(f"{where}: one of {', '.join(_NEEDED)} is empty")
        try:
            start, end = (round(float(row[name])) for name in ("time_start", "time_end"))
        except ValueError as error:
            raise AnnotationError(f"{where}: {error}") from error
        name = row["youtube_id"].strip()
        file = folder.find(f"{name}_{start:06d}_{end:06d}", name)
        split = split_named((row.get("split") or "").strip(), where)
        annotation = Annotation(row["label"].strip(), line=reader.line_num)
        lines.append(Line(file, annotation, split=split))
    return lines, []
