"""ActivityNet's and THUMOS' JSON: ``database`` -> id -> ``subset`` and ``annotations``, each
with ``segment`` [start, end] in seconds and ``label``."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

from vtnstream.datasets.lines import Annotation, Line, split_named
from vtnstream.datasets.lookup import VideoFolder, read_text
from vtnstream.errors import AnnotationError
from vtnstream.wording import plural

_LONGEST = 1e8
"""Seconds (three years): no video is longer."""


def read_activitynet(path: Path, videos: Path | None = None) -> tuple[list[Line], list[str]]:
    """Segments of all videos; ``line`` counts the annotations of a video from 1.

    Videos are found by id, with or without ``v_`` before it. A video with an empty list of
    annotations is one without segments. A subset without a single annotation is one whose
    annotations are kept secret, and is left out.

    Raises:
        AnnotationError: not such a file, or a wrong annotation (with video and number).
    """
    database = _database(path)
    folder = VideoFolder(path.parent if videos is None else videos, path)
    lines: list[Line] = []
    for name, entry in database.items():
        where = f"{path}: video {name!r}"
        if not isinstance(entry, dict) or not isinstance(entry.get("annotations", []), list):
            raise AnnotationError(f"{where}: not an object with annotations")
        split = split_named(str(entry.get("subset") or ""), where)
        file = folder.find(f"v_{name.removeprefix('v_')}", name, name.removeprefix("v_"))
        length = _length(entry.get("duration"))
        items = entry.get("annotations", [])
        if not items:
            lines.append(Line(file, None, split=split, length=length))
        for number, item in enumerate(items, 1):
            span = _span(item, f"{where}, annotation {number}")
            label = str(item["label"]).strip()
            if not label:
                raise AnnotationError(f"{where}, annotation {number}: the label is empty")
            annotation = Annotation(label, *span, line=number)
            lines.append(Line(file, annotation, split=split, length=length))
    known = {line.split for line in lines if line.annotation is not None}
    secret = [line for line in lines if line.split not in known]
    warnings = []
    if secret:
        names = ", ".join(sorted({str(line.split) for line in secret}))
        warnings.append(
            f"{path}: subset {names} has no annotations at all: {plural(len(secret), 'video')} "
            "left out"
        )
    return [line for line in lines if line.split in known], warnings


def _length(duration: object) -> Fraction | None:
    """Seconds of a video, if the file says it."""
    if isinstance(duration, (int, float)) and 0 < duration < _LONGEST:
        return Fraction(duration).limit_denominator(1_000_000)
    return None


def _database(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: not JSON ({error})") from error
    database = document.get("database") if isinstance(document, dict) else None
    if not isinstance(database, dict):
        raise AnnotationError(f'{path}: no "database" in it: not annotations of ActivityNet')
    return database


def _span(item: Any, where: str) -> tuple[Fraction, Fraction]:
    """Start and end, which may be equal."""
    segment = item.get("segment") if isinstance(item, dict) else None
    if not isinstance(segment, list) or len(segment) != 2 or "label" not in item:
        raise AnnotationError(f"{where}: expected a segment [start, end] and a label")
    try:
        start, end = (float(value) for value in segment)
    except (TypeError, ValueError) as error:
        raise AnnotationError(f"{where}: segment {segment} is not two numbers") from error
    if not (math.isfinite(start) and math.isfinite(end)) or start < 0 or end < start:
        raise AnnotationError(f"{where}: segment {segment} does not run forward from 0")
    return Fraction(start), Fraction(end)
