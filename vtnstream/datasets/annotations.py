"""Annotation files of every kind that is read: which video, or which part of it, shows what.

One table of formats; each reader gives lines with their numbers, and everything after that
(gathering by video, contradictions, overlaps, missing videos, the order of labels) is the same
for all. A wrong line is reported with its number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from vtnstream.config.class_heads import SEPARATOR, full_label
from vtnstream.datasets.epic_kitchens import FILES as EPIC_KITCHENS_FILES
from vtnstream.datasets.lines import (
    AnnotatedVideo,
    Annotation,
    Annotations,
    Line,
    Time,
    check_overlaps,
    gathered,
    normalized,
    refuse_missing,
)
from vtnstream.datasets.lookup import decoded
from vtnstream.errors import AnnotationError
from vtnstream.labels import stable_order
from vtnstream.registry import lookup
from vtnstream.wording import plural

__all__ = [
    "FORMATS",
    "AnnotatedVideo",
    "Annotation",
    "Annotations",
    "Time",
    "check_overlaps",
    "read_annotations",
    "refuse_missing",
]

Reader = Callable[[Path, Path | None], tuple[list[Line], list[str]]]
"""(file or folder, folder of the videos or None) -> lines and warnings."""

FORMATS = {
    "csv": "vtnstream.datasets.table:read_table",
    "pyslowfast": "vtnstream.datasets.pyslowfast:read_list",
    "kinetics": "vtnstream.datasets.kinetics:read_kinetics",
    "activitynet": "vtnstream.datasets.activitynet:read_activitynet",
    "ms-tcn": "vtnstream.datasets.ms_tcn:read_ms_tcn",
    "cholec80": "vtnstream.datasets.cholec80:read_cholec80",
    "moments": "vtnstream.datasets.moments:read_moments",
    "epic-kitchens": "vtnstream.datasets.epic_kitchens:read_epic_kitchens",
    "folders": "vtnstream.datasets.folders:read_folders",
}
"""name -> reader, imported when it is needed."""


def read_annotations(
    path: str | Path,
    *,
    format: str = "auto",
    videos: str | Path | None = None,
    check_files: bool = True,
    overlapping: bool = False,
) -> Annotations:
    """Read annotations.

    Args:
        path: a file, or the folder of a dataset.
        format: one of :data:`FORMATS`; ``auto`` recognises it.
        videos: folder the videos lie in; None is that of the file.
        check_files: refuse annotations of videos which do not exist.
        overlapping: keep segments as they are given, for evaluation: they may overlap, stand
            twice and be of no length, and videos without segments stay. Without it, each moment
            has one label, as a dense head learns it; segments with labels for several class heads
            may overlap all the same.

    Raises:
        AnnotationError: unreadable, a wrong line (with its number), overlapping segments,
            or missing videos (listed).
        UsageError: an unknown format.
    """
    path = Path(path)
    name = recognise(path) if format == "auto" else format
    module, _, attribute = lookup(FORMATS, name, "annotation format").partition(":")
    reader: Reader = getattr(import_module(module), attribute)
    lines, warnings = reader(path, None if videos is None else Path(videos))
    if not lines:
        raise AnnotationError(f"{path}: no annotation in it (read as {name})")
    lines = normalized(lines)
    segments, heads = _all_segments(path, lines), _heads(path, lines)
    found, left_out = gathered(path, lines, overlapping=overlapping or bool(heads))
    if not overlapping:
        named, found = found, tuple(video for video in found if video.annotations)
        if len(found) < len(named):
            count = len(named) - len(found)
            left_out = (*left_out, f"{path}: {plural(count, 'video')} without segments left out")
    if segments and not overlapping and not heads:
        for video in found:
            check_overlaps(video.annotations, f"{path}: {video.path.name}")
    labels = _labels(heads, [item for video in found for item in video.annotations])
    if not labels:
        raise AnnotationError(f"{path}: no annotation in it (read as {name})")
    result = Annotations(path, found, labels, segments, (*warnings, *left_out), heads)
    if check_files:
        refuse_missing(result)
    return result


def recognise(path: Path) -> str:
    """The format of a file or folder, by what it looks like.

    Raises:
        AnnotationError: it cannot be read.
    """
    if path.is_dir():
        if (path / "groundTruth").is_dir():
            return "ms-tcn"
        if any((path / name).is_file() for name in ("trainingSet.csv", "validationSet.csv")):
            return "moments"
        if any((path / name).is_file() for name in EPIC_KITCHENS_FILES):
            return "epic-kitchens"
        phases = next((p for p in path.rglob("*-phase.txt")), None)
        return "folders" if phases is None else "cholec80"
    if path.name in ("trainingSet.csv", "validationSet.csv"):
        return "moments"
    if path.suffix.lower() == ".json":
        return "activitynet"
    try:
        with open(path, "rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror or error})") from error
    first = decoded(head).partition("\n")[0].strip()
    if first.lower().startswith("sep="):
        return "csv"
    columns = {name.strip().lower() for name in first.split(",")}
    if {"label", "youtube_id", "time_start"} <= columns:
        return "kinetics"
    if {"video_id", "start_timestamp", "stop_timestamp"} <= columns:
        return "epic-kitchens"
    if not any(d in first for d in ",;\t") and len(first.split()) == 2:
        return "pyslowfast"
    return "csv"


def _heads(path: Path, lines: Sequence[Line]) -> tuple[str, ...]:
    """Return the names of the class heads if the lines have several.

    Raises:
        AnnotationError: lines have different heads.
    """
    items = [line.annotation for line in lines if line.annotation is not None]
    found = {tuple(part.partition(SEPARATOR)[0] for part in item.parts) for item in items}
    if len(found) > 1:
        raise AnnotationError(f"{path}: each line needs a label for the same class heads")
    return found.pop() if found else ()


def _labels(heads: Sequence[str], items: Sequence[Annotation]) -> tuple[str, ...]:
    """Return all labels in order, those of several heads one head after the other."""
    if not heads:
        return stable_order(item.label for item in items)
    parts = [[part.partition(SEPARATOR)[2] for part in item.parts] for item in items]
    return tuple(
        full_label(head, label)
        for head, column in zip(heads, zip(*parts, strict=True), strict=True)
        for label in stable_order(column)
    )


def _all_segments(path: Path, lines: Sequence[Line]) -> bool:
    """Whether all lines are segments (True) or whole videos (False)."""
    items = [line.annotation for line in lines if line.annotation is not None]
    if not items:
        return True
    odd = next((item for item in items if item.is_segment != items[0].is_segment), None)
    if odd is not None:
        has = "has start and end" if odd.is_segment else "has no start and end"
        raise AnnotationError(
            f"{path}: line {odd.line} {has}, line "
            f"{items[0].line} is the other way round: annotate all lines alike"
        )
    return items[0].is_segment
