"""A folder for each class, with its videos inside; above them folders for the splits, where
there are any (``train/run/1.mp4``)."""

from __future__ import annotations

import os
from pathlib import Path

from vtnstream.datasets.lines import SPLITS, Annotation, Line, split_named
from vtnstream.errors import AnnotationError
from vtnstream.suffixes import VIDEO_SUFFIXES
from vtnstream.wording import plural


def read_folders(path: Path, videos: Path | None = None) -> tuple[list[Line], list[str]]:
    """One class a video: the name of the folder it is in.

    Raises:
        AnnotationError: videos outside class folders only, or none.
    """
    root = videos or path
    aliases = {alias for names in SPLITS.values() for alias in names}
    lines: list[Line] = []
    loose = 0
    for directory, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        parts = Path(directory).relative_to(root).parts
        split = None
        if parts and parts[0].lower() in aliases:
            split, parts = split_named(parts[0], str(root)), parts[1:]
        for name in sorted(files):
            if name.startswith(".") or os.path.splitext(name)[1].lower() not in VIDEO_SUFFIXES:
                continue
            if not parts:
                loose += 1
                continue
            lines.append(
                Line(Path(directory, name), Annotation(parts[0], line=len(lines) + 1), split=split)
            )
    if not lines:
        raise AnnotationError(
            f"{path}: no videos in folders named after classes (such as {path / 'run' / '1.mp4'})"
        )
    return lines, [
        f"{path}: {plural(loose, 'video')} outside class folders left out"
    ] if loose else []
