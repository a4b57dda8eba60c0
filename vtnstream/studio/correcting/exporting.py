"""Corrected timelines as files: every format of results, and annotations for training."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vtnstream.errors import VtnstreamError
from vtnstream.optional import installed
from vtnstream.report.formats import WRITERS
from vtnstream.report.naming import file_name
from vtnstream.report.place import Place
from vtnstream.studio.correcting.timeline import EditedSegment
from vtnstream.studio.problems import InvalidProblem
from vtnstream.types import Report

TRAIN, TEST = "train", "test"


@dataclass(frozen=True, slots=True)
class Export:
    """A file to download."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Annotated:
    """A corrected video.

    Attributes:
        id: of its result.
        video: the video.
        segments: as they are now.
        checked: whether a person has looked through all of it.
    """

    id: str
    video: Path
    segments: tuple[EditedSegment, ...]
    checked: bool


def available() -> tuple[str, ...]:
    """Names of the formats whose libraries are installed."""
    return tuple(name for name, w in WRITERS.items() if all(map(installed, w.modules)))


def exported(report: Report, name: str, *, base: str, folder: Path, video: Path | None) -> Export:
    """A report in one format.

    Args:
        report: with the corrected segments.
        name: one of :data:`~vtnstream.report.formats.WRITERS`.
        base: name of the file without its ending.
        folder: of the result.
        video: where the video lies; None takes the report's word.

    Raises:
        InvalidProblem: the format is unknown, needs a library, or cannot hold the report.
    """
    writer = WRITERS.get(name)
    if writer is None:
        raise InvalidProblem(f"no format {name[:40]!r}: there are {', '.join(available())}")
    missing = [module for module in writer.modules if not installed(module)]
    if missing:
        raise InvalidProblem(f"format {name} needs {missing[0]}: install vtnstream[formats]")
    place = Place.of(report, folder, video)
    if why := writer.refuses(report, place):
        raise InvalidProblem(f"format {name}: {why}")
    file = io.BytesIO()
    try:
        writer.write(report, place, file)
    except VtnstreamError as error:
        raise InvalidProblem(f"format {name}: {error}") from error
    return Export(file_name(base, writer.suffix), file.getvalue())


def annotations_csv(
    videos: Iterable[Annotated], folder: Path | None = None, splits: Mapping[str, str] | None = None
) -> str:
    """The segments of several videos as annotations that ``vtnstream train`` reads.

    Args:
        videos: corrected videos.
        folder: the folder that paths become relative to; None makes them absolute.
        splits: id -> ``train`` or ``test`` for a column ``split``; None leaves it out.
    """
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(("path", "start", "end", "label", *(("split",) if splits is not None else ())))
    for video in videos:
        path = str(video.video)
        if folder is not None and video.video.is_relative_to(folder):
            path = f"./{video.video.relative_to(folder).as_posix()}"
        more = () if splits is None else (splits.get(video.id, TRAIN),)
        for segment in video.segments:
            times = (f"{segment.start:.6f}", f"{segment.end:.6f}")
            rows.writerow((path, *times, segment.label, *more))
    return out.getvalue()
