"""Short descriptions of result files, for the library."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vtnstream.report.naming import base_name
from vtnstream.report.terminal.glyphs import printable

MAX_BYTES = 256 << 20
"""Larger files are no results."""

DONE, PARTIAL, FAILED, NEW = "done", "partial", "failed", "new"
STATES = (DONE, PARTIAL, FAILED, NEW)

_SCHEMA = "vtnstream/report/"
_MAX_LABELS = 200


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of the library.

    Attributes:
        state: one of :data:`STATES`.
        name: file name of the video.
        input: the video as the result names it.
        label: class of the whole video, or empty.
        length: seconds.
        segments: number of segments.
        score: mean score of the segments, or of the class; None without one.
        model: name of the model.
        problem: why the result is partial or failed, in one line.
        labels: label -> seconds.
    """

    state: str
    name: str
    input: str
    label: str = ""
    length: float = 0.0
    segments: int = 0
    score: float | None = None
    model: str = ""
    problem: str = ""
    labels: Mapping[str, float] = field(default_factory=dict)


def listings(path: Path) -> list[Listing]:
    """What a JSON file holds, one listing for each result; empty for a file that is none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return []
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    items = document if isinstance(document, list) else [document]
    found = [_listing(item) for item in items if isinstance(item, dict)]
    return [item for item in found if item is not None]


def _listing(document: Mapping[str, Any]) -> Listing | None:
    schema, source = document.get("schema"), document.get("input")
    if not (isinstance(schema, str) and schema.startswith(_SCHEMA) and isinstance(source, str)):
        return None
    name = printable(base_name(source))
    if "error" in document:
        return Listing(FAILED, name, source, problem=printable(str(document["error"])))
    segments = [item for item in _items(document.get("segments")) if _is_segment(item)]
    classes = [item for item in _items(document.get("classes")) if "label" in item]
    partial = document.get("partial")
    scores = [s["score"] for s in segments or classes[:1] if _is_number(s.get("score"))]
    span, model = document.get("range"), document.get("model")
    return Listing(
        PARTIAL if partial else DONE,
        name,
        source,
        label=printable(str(classes[0]["label"])) if classes else "",
        length=_length(span if isinstance(span, dict) else {}),
        segments=len(segments),
        score=sum(scores) / len(scores) if scores else None,
        model=printable(str(model.get("name") or "")) if isinstance(model, dict) else "",
        problem="; ".join(map(printable, _reasons(partial))),
        labels=_seconds(segments),
    )


def _items(value: Any) -> Iterator[dict[str, Any]]:
    return (
        (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_segment(item: Mapping[str, Any]) -> bool:
    return "label" in item and _is_number(item.get("start")) and _is_number(item.get("end"))


def _length(span: Mapping[str, Any]) -> float:
    start, end = span.get("start", 0.0), span.get("end", 0.0)
    return max(0.0, float(end) - float(start)) if _is_number(start) and _is_number(end) else 0.0


def _reasons(partial: Any) -> list[str]:
    reasons = partial.get("reasons") if isinstance(partial, dict) else None
    return [str(reason) for reason in reasons] if isinstance(reasons, list) else []


def _seconds(segments: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Label -> seconds, the longest labels only."""
    found: dict[str, float] = {}
    for item in segments:
        label = printable(str(item["label"]))
        found[label] = found.get(label, 0.0) + float(item["end"]) - float(item["start"])
    longest = sorted(found, key=lambda label: -found[label])[:_MAX_LABELS]
    return {label: found[label] for label in longest}


def walk(folder: Path, skip: Path) -> Iterator[Path]:
    """Files below a folder, without hidden folders, links to folders, and ``skip``."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(n for n in folders if not n.startswith(".") and here / n != skip)
        for name in sorted(files):
            if not name.startswith("."):
                yield here / name
