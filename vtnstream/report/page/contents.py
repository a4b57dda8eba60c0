"""Collect the variables of the page's template."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vtnstream.report.facts import class_lists, edit_facts, percent, run_facts, video_facts
from vtnstream.report.page.timeline import Scale, colors_of, curves, gaps, legend, rows, ticks
from vtnstream.report.place import Place
from vtnstream.report.terminal.glyphs import UNICODE, printable
from vtnstream.report.timebase import Timebase
from vtnstream.report.writers.lanes import tracks_of
from vtnstream.timecode import format_span, format_time
from vtnstream.types import QueryAnswer, Report, Segment
from vtnstream.types.results import MATCH

_MAX_CLASSES = 10
_HIDDEN_FACTS = frozenset({"store", "description"})


@dataclass(frozen=True, slots=True)
class Column:
    """A sortable column of the table."""

    key: str
    name: str
    kind: str = ""


def contents(report: Report, place: Place) -> dict[str, Any]:
    """Return the variables of the template as plain values, which the template escapes."""
    scale, colors = Scale.of(report), colors_of(report)
    segments = report.segments or ()
    hrefs = [_href(segment, place) for segment in segments]
    lanes, more_rows = rows(report, scale, colors, hrefs) if segments else ([], 0)
    drawn = curves(report, scale, colors)
    return {
        "name": printable(place.name),
        "edit_facts": edit_facts(report),
        "video_facts": [printable(fact) for fact in video_facts(report, UNICODE)],
        "run_facts": [printable(fact) for fact in run_facts(report, UNICODE)],
        "partial": partial_lines(report),
        "warnings": [printable(line) for line in report.warnings],
        "answers": [_answer(answer) for answer in report.answers],
        "video": place.relative,
        "no_video": "No player: the video is not at the path for which this page was written.",
        **_classes(report),
        "timeline": lanes or drawn or report.segments is not None,
        "rows": lanes,
        "more_rows": more_rows,
        "scale": scale,
        "legend": legend(report, scale, colors),
        "gaps": gaps(report, scale),
        "ticks": ticks(scale),
        "curves": drawn,
        "num_scores": len(report.scores),
        **_table(report, colors, hrefs),
        "facts": _facts(report),
    }


def answer_lines(report: Report) -> list[str]:
    """One sentence for each query of a search."""
    answers = map(_answer, report.answers)
    return [
        f"{a['label']}: {'found' if a['found'] else 'nothing found'}, {a['note']}" for a in answers
    ]


def _answer(answer: QueryAnswer) -> dict[str, Any]:
    digits = 2 if answer.at < 60 else 1
    return {
        "label": printable(answer.label),
        "found": answer.found,
        "note": f"best match {percent(answer.match)} at {format_time(answer.at, digits=digits)}",
    }


def _classes(report: Report) -> dict[str, Any]:
    """Return the lists of classes of the whole video, each with its title."""
    return {
        "class_lists": [
            {
                "title": f"{printable(name).capitalize()} of the whole video",
                "classes": [
                    {
                        "label": printable(c.label),
                        "percent": percent(c.score),
                        "share": _share(c.score),
                    }
                    for c in classes[:_MAX_CLASSES]
                ],
                "more": max(len(classes) - _MAX_CLASSES, 0),
            }
            for name, classes in ((name or "class", found) for name, found in class_lists(report))
        ]
    }


def _table(
    report: Report, colors: Mapping[str, str], hrefs: Sequence[str | None]
) -> dict[str, Any]:
    segments = report.segments or ()
    base = Timebase.of(report)
    timecodes = base is not None and base.timecode(0.0) is not None
    pictures = report.thumbnails if len(report.thumbnails) == len(segments) else ()
    tracks = any(s.track for s in segments)
    columns = [Column("track", "track")] if tracks else []
    columns += [
        Column("start", "start", "number"),
        Column("end", "end", "number"),
        Column("length", "length", "number"),
        Column("label", "label"),
        Column("score", "match" if report.score_name == MATCH else "score"),
    ]
    columns += [Column("start", "timecode", "number code")] if timecodes else []
    digits = 2 if max((s.end for s in segments), default=0) < 60 else 1
    items = []
    names = list(tracks_of(segments))
    numbered = enumerate(zip(segments, hrefs, strict=True), 1)
    by_track = sorted(numbered, key=lambda item: names.index(item[1][0].track or ""))
    for number, (segment, href) in by_track:
        picture = pictures[number - 1] if pictures else None
        start_text, end_text, length_text = format_span(segment.start, segment.end, digits=digits)
        items.append(
            {
                "number": number,
                "href": href,
                "start": segment.start,
                "end": segment.end,
                "length": round(segment.end - segment.start, 6),
                "start_text": start_text,
                "end_text": end_text,
                "length_text": length_text,
                "label": printable(segment.label),
                "name": printable(segment.name),
                "color": colors[segment.label],
                "score": segment.score if segment.score == segment.score else -1,
                "percent": percent(segment.score),
                "share": _share(segment.score),
                "track": printable(segment.track or ""),
                "timecode": (base.timecode(segment.start) if base else None) or "",
                "picture": _data_url(picture.jpeg) if picture else "",
                "picture_time": format_time(picture.seconds, digits=2) if picture else "",
            }
        )
    return {
        "segments": items,
        "columns": columns,
        "tracks": tracks,
        "timecodes": timecodes,
        "thumbnails": any(pictures),
        "thumbnail_note": _thumbnail_note(report),
    }


def _thumbnail_note(report: Report) -> str:
    count, total = sum(one is not None for one in report.thumbnails), len(report.segments or ())
    if count == total:
        return ""
    if not count:
        return "No thumbnails: the video was not found, or seeking in it is not possible."
    return f"Thumbnails for {count:,} of {total:,} segments, the longest first."


def _href(segment: Segment, place: Place) -> str | None:
    """Return the address of the video at a segment (media fragment), which works without
    JavaScript."""
    if place.relative is None:
        return None
    return f"{place.relative}#t={segment.start:.3f},{segment.end:.3f}"


def _data_url(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _share(score: float) -> float:
    """Return the length of a bar in percent."""
    return round(100 * min(max(score, 0.0), 1.0), 2) if score == score else 0.0


def partial_lines(report: Report) -> list[str]:
    """Why a result is partial and how much was read; empty for a complete one."""
    partial = report.partial
    if partial is None:
        return []
    lines = [printable(reason) for reason in partial.reasons]
    read = f"Read {format_time(partial.seconds_read)}"
    if partial.seconds_expected:
        share = min(1.0, partial.seconds_read / partial.seconds_expected)
        read += f" of {format_time(partial.seconds_expected)} ({percent(share)})"
    return [*lines, f"{read}."]


def _facts(report: Report) -> list[dict[str, Any]]:
    """Return all facts on the origin of a result, in groups."""
    video = {
        "file": report.input,
        "container": report.video.format_name,
        "codec": report.video.codec_name,
        "profile": report.video.profile,
        "pixels": f"{report.video.coded_width} × {report.video.coded_height}",
        "rotation": report.video.rotation or None,
        "time base": report.video.time_base,
        "starts at": report.video.start_seconds or None,
        "timecode": report.video.start_timecode,
        "frame rate": report.frame_rate or _varying(report),
        "frames": report.frames.count if report.frames else None,
    }
    groups = {
        "Model": report.model,
        "Video": video,
        "Sampling": {**report.sampling, "from": report.start_seconds, "to": report.end_seconds},
        "Timeline": report.settings,
        "Run": report.run,
    }
    return [
        {"name": name, "items": items}
        for name, values in groups.items()
        if (items := list(_items(values.items())))
    ]


def _varying(report: Report) -> str:
    return "not constant" if report.frames else "not known: frames were not counted"


def _items(values: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, str]]:
    for key, value in values:
        if value is None or value == "" or key in _HIDDEN_FACTS:
            continue
        text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        yield printable(key).replace("_", " "), printable(text)
