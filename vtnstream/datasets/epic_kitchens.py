"""EPIC-Kitchens-100: ``EPIC_100_train.csv`` and ``EPIC_100_validation.csv``, each line a segment of
a video with a verb and a noun.

Classes are numbers there; their names are in ``EPIC_100_verb_classes.csv`` and
``EPIC_100_noun_classes.csv``, which are published beside them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from vtnstream.datasets.lines import Annotation, Line
from vtnstream.datasets.lookup import VideoFolder, read_text
from vtnstream.errors import AnnotationError, UsageError
from vtnstream.timecode import FrameCount, parse_time

FILES = ("EPIC_100_train.csv", "EPIC_100_validation.csv")
_HEADS = ("verb", "noun")
_NEEDED = ("video_id", "start_timestamp", "stop_timestamp", *(f"{h}_class" for h in _HEADS))
_CLASS_FILES = ("EPIC_100_{}_classes_v2.csv", "EPIC_100_{}_classes.csv")


def read_epic_kitchens(path: Path, videos: Path | None = None) -> tuple[list[Line], list[str]]:
    """One segment with a verb and a noun for each line; all participants are scenes.

    Args:
        path: the folder with both files, or one file of their form. The split follows from
            ``train`` or ``validation`` in its name.
        videos: folder below which the videos lie; None is that of the files.

    Returns:
        The lines, and a sentence for each head whose classes have no names.

    Raises:
        AnnotationError: a column is missing, or a line is wrong (with its number).
    """
    files = [path] if path.is_file() else [path / name for name in FILES if (path / name).is_file()]
    if not files:
        raise AnnotationError(f"{path}: no {' or '.join(FILES)} in it")
    folder = files[0].parent
    names = {head: _class_names(folder, head) for head in _HEADS}
    found = VideoFolder(videos or folder, path)
    lines = [line for file in files for line in _lines(file, found, names)]
    warnings = [
        f"{path}: {_CLASS_FILES[1].format(head)} is not beside it: {head}s have numbers as names"
        for head in _HEADS
        if names[head] is None
    ]
    return lines, warnings


def _class_names(folder: Path, head: str) -> dict[str, str] | None:
    """Return the name of each class number, or None without a file of them.

    Raises:
        AnnotationError: the file has no columns ``id`` and ``key``.
    """
    names = [name.format(head) for name in _CLASS_FILES]
    files = [place / name for place in (folder, folder.parent) for name in names]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return None
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""))
    if not {"id", "key"} <= set(reader.fieldnames or ()):
        raise AnnotationError(f"{file}: line 1: no columns id and key")
    return {(row["id"] or "").strip(): (row["key"] or "").strip() for row in reader}


def _lines(
    file: Path, folder: VideoFolder, names: Mapping[str, Mapping[str, str] | None]
) -> list[Line]:
    reader = csv.DictReader(io.StringIO(read_text(file), newline=""), strict=True)
    lines = []
    try:
        absent = [name for name in _NEEDED if name not in (reader.fieldnames or ())]
        if absent:
            raise AnnotationError(f"{file}: line 1: no column {', '.join(absent)}")
        for row in reader:
            where = f"{file}: line {reader.line_num}"
            if any(not (row[name] or "").strip() for name in _NEEDED):
                raise AnnotationError(f"{where}: one of {', '.join(_NEEDED)} is empty")
            annotation = _annotation(row, reader.line_num, names, where)
            video = folder.find(row["video_id"].strip())
            group = (row.get("participant_id") or "").strip() or None
            lines.append(Line(video, annotation, group=group, split=_split(file)))
    except csv.Error as error:
        raise AnnotationError(f"{file}: line {reader.reader.line_num}: {error}") from error
    return lines


def _annotation(
    row: Mapping[str, str], number: int, names: Mapping[str, Mapping[str, str] | None], where: str
) -> Annotation:
    try:
        start, end = (parse_time(row[f"{name}_timestamp"]) for name in ("start", "stop"))
    except UsageError as error:
        raise AnnotationError(f"{where}: {error}") from error
    if isinstance(start, FrameCount) or isinstance(end, FrameCount) or end <= start:
        raise AnnotationError(
            f"{where}: {row['start_timestamp']} to {row['stop_timestamp']} does not run forward"
        )
    labels = {}
    for head, known in names.items():
        label = row[f"{head}_class"].strip()
        if known is not None:
            if label not in known:
                raise AnnotationError(
                    f"{where}: {head}_class {label} is not among the named classes"
                )
            label = known[label]
        labels[head] = label
    return Annotation.of_heads(labels, start, end, number)


def _split(file: Path) -> str | None:
    stem = file.stem.lower()
    if "train" in stem:
        return "train"
    return "validation" if "val" in stem else None
