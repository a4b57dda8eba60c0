"""Moments in Time: ``trainingSet.csv`` and ``validationSet.csv`` without a header, each line
``label/file.mp4,label`` and two counts of votes; the videos lie in ``training`` and ``validation``
beside them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from vtnstream.datasets.lines import Annotation, Line
from vtnstream.datasets.lookup import read_text
from vtnstream.errors import AnnotationError

SETS = {"trainingSet.csv": ("train", "training"), "validationSet.csv": ("validation", "validation")}
"""Name of a file -> its split, and the folder of its videos."""


def read_moments(path: Path, videos: Path | None = None) -> tuple[list[Line], list[str]]:
    """One class a video.

    Args:
        path: the folder of the data set, or one of its two files.
        videos: folder that holds ``training`` and ``validation``; None is that of the files.

    Raises:
        AnnotationError: a wrong line (with file and number).
    """
    files = [path] if path.is_file() else [path / name for name in SETS if (path / name).is_file()]
    if not files:
        raise AnnotationError(f"{path}: no {' or '.join(SETS)} in it")
    return [line for file in files for line in _lines(file, videos or file.parent)], []


def _lines(file: Path, root: Path) -> list[Line]:
    split, folder = SETS.get(file.name, (None, "."))
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    found = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{file}: line {reader.line_num}"
            name, label = (cell.strip() for cell in cells[:2]) if len(cells) > 1 else ("", "")
            if not name or not label:
                raise AnnotationError(f"{where}: not `label/file.mp4,label`: {','.join(cells)!r}")
            annotation = Annotation(label, line=reader.line_num)
            found.append(Line(root / folder / name, annotation, split=split))
    except csv.Error as error:
        raise AnnotationError(f"{file}: line {reader.line_num}: {error}") from error
    return found
