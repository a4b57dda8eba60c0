"""Read stored predictions, of this or another tool, for evaluation.

A source is a folder of JSON reports, a file with one report or an array of them, JSON lines, or
a result file in ActivityNet's format.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtnstream.errors import ReportError
from vtnstream.labels import normal_form
from vtnstream.report.reading import read_report, report_from_json
from vtnstream.report.writers.structured import SCHEMA
from vtnstream.types import ClassScore, FrameIndex, HeadClasses, Report, Segment, VideoInfo


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for one video.

    Attributes:
        classes: classes of the whole video, best first.
        segments: the timeline; None if none was made.
        seconds: length of the video.
        info: stream properties, if the source states them.
        frames: index of the video's frames, if the source contains it.
        heads: classes by each of several class heads.
        covered: spans ``[start, end)`` in seconds that the timeline answers; None if not known.
        dense_labels: labels of the dense head that made the timeline; empty if not known.
    """

    classes: tuple[ClassScore, ...] = ()
    segments: tuple[Segment, ...] | None = None
    seconds: float | None = None
    info: VideoInfo | None = None
    frames: FrameIndex | None = None
    heads: tuple[HeadClasses, ...] = ()
    covered: tuple[tuple[float, float], ...] | None = None
    dense_labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: Report) -> Prediction:
        length = report.video.duration_from_header
        return cls(
            report.classes,
            report.segments,
            float(length) if length is not None else report.end_seconds,
            report.video,
            report.frames,
            report.heads,
            report.covered or None,
            report.labels if "dense" in report.settings.get("tracks", ()) else (),
        )


class Predictions:
    """Predictions of several videos, found by the video's path or name.

    Attributes:
        source: file or folder from which they were read.
        whole: whether the source is one result file of a dataset, in which each video counts,
            annotated or not.
    """

    def __init__(self, source: Path, found: dict[str, Prediction], *, whole: bool = False) -> None:
        self.source = source
        self.whole = whole
        self._found = found
        self._places = {name: place for place, name in enumerate(found)}
        self._by_name: dict[str, list[str]] = {}
        for name in found:
            for key in {normal_form(Path(name).name), normal_form(Path(name).stem)}:
                self._by_name.setdefault(key, []).append(name)

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, name: str) -> Prediction:
        return self._found[name]

    def name_of(self, video: Path) -> str | None:
        """Return the name under which the source lists a video, or None.

        The path as given is tried first, then the file name, then the name without suffix, then
        without the prefix ``v_``.

        Raises:
            ReportError: several predictions have that name.
        """
        if str(video) in self._found:
            return str(video)
        for key in (video.name, video.stem, video.stem.removeprefix("v_")):
            candidates = self._by_name.get(normal_form(key), [])
            if len(candidates) > 1:
                candidates = [name for name in candidates if _is_file(name, video)] or candidates
            if len(candidates) > 1:
                raise ReportError(f"{self.source}: {len(candidates)} predictions for {key}")
            if candidates:
                return candidates[0]
        return None

    def of(self, video: Path) -> Prediction | None:
        """Return the prediction of a video (found as in :meth:`name_of`), or None."""
        name = self.name_of(video)
        return None if name is None else self._found[name]

    def place(self, name: str | None) -> int:
        """Return the position of a prediction in its source; None comes after all others."""
        return len(self._places) if name is None else self._places[name]

    def others(self, videos: Iterable[Path]) -> list[str]:
        """Return the names of the predictions that belong to none of these videos."""
        taken = {self.name_of(video) for video in videos}
        return [name for name in self._found if name not in taken]


def _is_file(name: str, video: Path) -> bool:
    """Return whether a prediction names the same file under another path."""
    try:
        return os.path.samefile(name, video)
    except OSError:
        return False


def read_predictions(path: str | Path) -> Predictions:
    """Read all predictions of a file or folder.

    Raises:
        ReportError: the source is unreadable, not of a known format, or empty.
    """
    source, whole = Path(path), False
    if source.is_dir():
        found = {r.input: Prediction.of(r) for r in _folder(source)}
    elif source.suffix.lower() == ".jsonl":
        found = _json_lines(source)
    else:
        found, whole = _document(source)
    if not found:
        raise ReportError(f"{path}: no predictions in it")
    return Predictions(source, found, whole=whole)


def _folder(folder: Path) -> Iterator[Report]:
    for file in sorted(folder.rglob("*.json")):
        head = file.read_bytes()[:4096]
        if SCHEMA.rpartition("/")[0].encode() in head:  # the folder may hold other JSON
            yield read_report(file)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path}: not JSON ({error})") from error


def _document(path: Path) -> tuple[dict[str, Prediction], bool]:
    """Return the predictions, and whether the file is one result file of ActivityNet."""
    document = _load(path)
    if isinstance(document, dict) and isinstance(document.get("results"), dict):
        return _activitynet(path, document["results"]), True
    documents = document if isinstance(document, list) else [document]
    reports = [
        report_from_json(json.dumps(item), where=f"{path}: document {number}")
        for number, item in enumerate(documents, 1)
        if not (isinstance(item, dict) and "error" in item)
    ]
    return {r.input: Prediction.of(r) for r in reports}, False


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
    """Read JSON lines; ``segment`` events are added to the ``result`` event that follows them."""
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
