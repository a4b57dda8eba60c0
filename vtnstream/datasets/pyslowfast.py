"""PySlowFast's lists: ``path label`` a line, the label a number from 0; or ``path,label``, its
other separator, where the format is named (by itself that is our own CSV)."""

from __future__ import annotations

import re
from pathlib import Path

from vtnstream.datasets.lines import Annotation, Line
from vtnstream.datasets.lookup import read_text
from vtnstream.errors import AnnotationError
from vtnstream.labels import read_labels

_LINE = re.compile(r"(.+)[ ,]([0-9]{1,9})")
NAMES_FILE = "labels.txt"
"""Beside the list: names of the classes in the order of their numbers, one a line."""


def read_list(path: Path, videos: Path | None = None) -> tuple[list[Line], list[str]]:
    """Lines of the list. Paths may hold spaces (the label is what follows the last one) and
    quotes around them; they are relative to ``videos`` or the list's own folder.

    Raises:
        AnnotationError: a line without label, or one with several (with its number).
    """
    root = path.parent if videos is None else videos
    beside = path.parent / NAMES_FILE
    names = read_labels(beside) if beside.is_file() else None
    lines = []
    for number, text in enumerate(read_text(path).splitlines(), 1):
        if not text.strip():
            continue
        where = f"{path}: line {number}"
        several = text.strip().rpartition(" ")[2]
        if "," in several and all(part.isdecimal() for part in several.split(",")):
            raise AnnotationError(f"{where}: several labels {several}: one a video is supported")
        match = _LINE.fullmatch(text.strip())
        if match is None:
            raise AnnotationError(f"{where}: not `path label` with a number as label: {text!r}")
        name, label = match.groups()
        if names is not None and int(label) >= len(names):
            raise AnnotationError(f"{where}: label {label}, but {beside} names {len(names)}")
        clean = name.strip().strip("\"'")
        label = names[int(label)] if names is not None else str(int(label))
        lines.append(Line(root / clean, Annotation(label, line=number)))
    return lines, []
