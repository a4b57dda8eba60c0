"""Stored answers of a model, ours or of others, to be judged again: a folder of JSON reports,
one report or an array of them, JSON lines, or ActivityNet's results."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vtnstream.errors import ReportError
from vtnstream.report.reading import read_report, report_from_json
from vtnstream.report.writers.structured import SCHEMA
from vtnstream.types import ClassScore, Report, Segment


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was said of one video; ``segments`` None where no timeline was made."""

    classes: tuple[ClassScore, ...] = ()
    segments: tuple[Segment, ...] | None = None
    rate: Fraction | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, report: Report) -> Prediction:
        length = report.video.duration_from_header
        return cls(
            report.classes,
            report.segments,
            report.video.average_rate,
            float(length) if length is not None else report.end_seconds,
        )


class Predictions:
    """Predictions by the video they are of.

    Attributes:
        source: where they were read.
    """

    def __init__(self, source: Path, found: dict[str, Prediction]) -> None:
        self.source = source
        self._found = found
        self._by_name: dict[str, list[Prediction]] = {}
        for name, prediction in found.items():
            for key in {Path(name).name, Path(name).stem}:
                self._by_name.setdefault(key, []).append(prediction)

    def __len__(self) -> int:
        return len(self._found)

    def of(self, video: Path) -> Prediction | None:
        """The prediction of a video: by its path as it was named, else by its name, else by
        its name without suffix (and without ``v_``).

        Raises:
            ReportError: several videos of this name were predicted.
        """
        exact = self._found.get(str(video))
        if exact is not None:
            return exact
        for key in (video.name, video.stem, video.stem.removeprefix("v_")):
            candidates = self._by_name.get(key, [])
            if len(candidates) > 1:
                raise ReportError(f"{self.source}: {len(candidates)} predictions for {key}")
            if candidates:
                return candidates[0]
        return None


def read_predictions(path: str | Path) -> Predictions:
    """All predictions in a file or folder.

    Raises:
        ReportError: unreadable, or nothing of a known kind in it.
    """
    source = Path(path)
    if source.is_dir():
        found = {r.input: Prediction.of(r) for r in _folder(source)}
    elif source.suffix.lower() == ".jsonl":
        found = _json_lines(source)
    else:
        found = _document(source)
    if not found:
        raise ReportError(f"{path}: no predictions in it")
    return Predictions(source, found)


def _folder(folder: Path) -> Iterator[Report]:
    for file in sorted(folder.rglob("*.json")):
        head = file.read_bytes()[:4096]
        if SCHEMA.rpartition("/")[0].encode() in head:  # other JSON may lie beside
            yield read_report(file)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path}: not JSON ({error})") from error


def _document(path: Path) -> dict[str, Prediction]:
    document = _load(path)
    if isinstance(document, dict) and isinstance(document.get("results"), dict):
        return _activitynet(path, document["results"])
    documents = document if isinstance(document, list) else [document]
    reports = [
        report_from_json(json.dumps(item), where=f"{path}: document {number}")
        for number, item in enumerate(documents, 1)
        if not (isinstance(item, dict) and "error" in item)
    ]
    return {r.input: Prediction.of(r) for r in reports}


def _activitynet(path: Path, results: dict[str, Any]) -> dict[str, Prediction]:
    found = {}
    for name, items in results.items():
        try:
            segments = tuple(
                Segment(float(a), float(b), str(item["label"]), float(item["score"]))
                for item in items
                for a, b in [item["segment"]]
            )
        except (TypeError, ValueError, KeyError) as error:
            raise ReportError(
                f"{path}: results of {name!r} are not segment, label and score ({error})"
            ) from error
        for number, one in enumerate(segments, 1):
            if not math.isfinite(one.start + one.end + one.score):
                raise ReportError(
                    f"{path}: result {number} of {name!r} has a number that is not finite"
                )
        found[name] = Prediction(segments=segments)
    return found


def _json_lines(path: Path) -> dict[str, Prediction]:
    """``segment`` events gathered into the ``result`` event that follows them."""
    waiting: dict[str, list[Any]] = {}
    found: dict[str, Prediction] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from error
    for number, line in enumerate(lines, 1):
        where = f"{path}: line {number}"
        try:
            event = json.loads(line)
            kind, name = event.get("event"), event.get("input")
        except (ValueError, RecursionError, AttributeError) as error:
            raise ReportError(f"{where}: not a JSON event ({error})") from error
        if kind == "segment":
            waiting.setdefault(name, []).append(event)
        elif kind == "result":
            segments = waiting.pop(name, [])
            event["segments"] = None if event.get("num_segments") is None else segments
            report = report_from_json(json.dumps(event), where=where)
            found[report.input] = Prediction.of(report)
    return found
