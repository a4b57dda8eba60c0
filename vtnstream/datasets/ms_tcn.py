"""MS-TCN's folders (50Salads, GTEA, Breakfast): ``mapping.txt``, ``groundTruth/<id>.txt`` with
one label a video frame, ``splits/test.split1.bundle`` ..."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vtnstream.datasets.lines import Annotation, Line
from vtnstream.datasets.lookup import VideoFolder, read_text
from vtnstream.errors import AnnotationError
from vtnstream.labels import BACKGROUND
from vtnstream.timecode import FrameCount

_BUNDLE = re.compile(r"test\.split(\w+)\.bundle")


def read_ms_tcn(path: Path, videos: Path | None = None) -> tuple[list[Line], list[str]]:
    """Segments of all videos, in frames; ``fold`` is the split whose test set a video is in.

    Videos are looked for in ``videos`` or below the folder itself. Frames called
    ``background`` make no segments; a video that has no others has none.

    Raises:
        AnnotationError: no ground truth, or a label that ``mapping.txt`` does not know (with
            file and line).
    """
    known = _mapping(path / "mapping.txt")
    folder = VideoFolder(path if videos is None else videos, path)
    folds = _folds(path / "splits")
    lines: list[Line] = []
    for file in sorted((path / "groundTruth").glob("*.txt")):
        labels = [label.strip() for label in read_text(file).splitlines() if label.strip()]
        for number, label in enumerate(labels, 1):
            if known and label not in known:
                raise AnnotationError(f"{file}: line {number}: {label!r} is not in mapping.txt")
        video, fold = folder.find(file.stem), folds.get(file.stem)
        lines += frame_lines(video, labels, fold)
    if not lines:
        raise AnnotationError(f"{path}: no labels in its groundTruth folder")
    return lines, []


def frame_lines(video: Path, labels: Sequence[str], fold: str | None = None) -> list[Line]:
    """Lines of a video that has a label for every frame; one line without a segment where all
    frames are background."""
    length = FrameCount(len(labels))
    items: list[Annotation | None] = [*frame_segments(labels)] or [None]
    return [Line(video, item, fold=fold, length=length) for item in items]


def frame_segments(labels: Sequence[str]) -> list[Annotation]:
    """Stretches of equal labels as segments in frames, without background."""
    items: list[Annotation] = []
    start = 0
    for i in range(1, len(labels) + 1):
        if i == len(labels) or labels[i] != labels[start]:
            if labels[start] != BACKGROUND:
                items.append(
                    Annotation(labels[start], FrameCount(start), FrameCount(i), line=start + 1)
                )
            start = i
    return items


def _mapping(path: Path) -> set[str]:
    """Names in ``mapping.txt`` (``0 name`` a line), empty where there is no such file."""
    if not path.is_file():
        return set()
    names = set()
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        index, _, name = line.strip().partition(" ")
        if not index.isdecimal() or not name.strip():
            raise AnnotationError(f"{path}: line {number}: not `number name`: {line!r}")
        names.add(name.strip())
    return names


def _folds(folder: Path) -> dict[str, str]:
    """Name of a video -> number of the split that tests on it."""
    folds: dict[str, str] = {}
    for file in sorted(folder.glob("*.bundle")) if folder.is_dir() else ():
        match = _BUNDLE.fullmatch(file.name)
        if match is None:
            continue
        for line in read_text(file).splitlines():
            if line.strip():
                folds[Path(line.strip()).stem] = match[1]
    return folds
