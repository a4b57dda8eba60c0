"""Read moments and segments of public sets in their published layouts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from vtnstream.errors import AnnotationError
from vtnstream.suffixes import VIDEO_SUFFIXES

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Moment:
    """A sentence and the spans of a video that it describes.

    Attributes:
        video: its file.
        query: the sentence, or the name of a class.
        spans: ``[start, end)`` in seconds.
    """

    video: Path
    query: str
    spans: tuple[Span, ...]


def read_set(name: str, folder: Path) -> list[Moment]:
    """Read the moments of a set whose videos exist.

    QVHighlights: ``highlight_val_release.jsonl`` and ``videos/VID.mp4``. Charades-STA:
    ``charades_sta_test.txt`` (``VID start end##sentence``) and ``videos/VID.mp4``. THUMOS14:
    ``thumos14.json`` in ActivityNet's form (``database``) and ``videos/VID.mp4``.

    Raises:
        AnnotationError: there are no annotations, or none of their videos.
    """
    readers = {"qvhighlights": _qvhighlights, "charades-sta": _charades, "thumos14": _thumos}
    videos = {
        path.stem: path
        for path in sorted((folder / "videos").glob("*"))
        if path.suffix.lower() in VIDEO_SUFFIXES
    }
    found = [
        Moment(videos[video], query, spans)
        for video, query, spans in readers[name](folder)
        if video in videos and spans
    ]
    if not found:
        raise AnnotationError(f"{folder}: none of the annotated videos lies in {folder / 'videos'}")
    return found


_Rows = list[tuple[str, str, tuple[Span, ...]]]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from error


def _qvhighlights(folder: Path) -> _Rows:
    rows: _Rows = []
    for line in _text(folder / "highlight_val_release.jsonl").splitlines():
        if line.strip():
            data = json.loads(line)
            spans = tuple((float(a), float(b)) for a, b in data["relevant_windows"])
            rows.append((data["vid"], data["query"], spans))
    return rows


def _charades(folder: Path) -> _Rows:
    rows: _Rows = []
    for line in _text(folder / "charades_sta_test.txt").splitlines():
        place, _, query = line.partition("##")
        if query:
            video, start, end = place.split()
            if float(end) > float(start):
                rows.append((video, query.strip(), ((float(start), float(end)),)))
    return rows


def _thumos(folder: Path) -> _Rows:
    rows: dict[tuple[str, str], list[Span]] = {}
    database = json.loads(_text(folder / "thumos14.json"))["database"]
    for video, data in database.items():
        if data.get("subset", "test").lower() in ("test", "testing", "validation"):
            for item in data["annotations"]:
                span = (float(item["segment"][0]), float(item["segment"][1]))
                rows.setdefault((video, item["label"]), []).append(span)
    return [(video, label, tuple(spans)) for (video, label), spans in rows.items()]
