"""Draw the timeline of a report: one strip per track, or one per label if segments overlap."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from vtnstream.report.terminal.canvas import Canvas
from vtnstream.report.terminal.legend import Legend
from vtnstream.report.terminal.strip import axis, colored_strip, pixels, plain_strip, with_seams
from vtnstream.types import Report, Segment

_MAX_LANES = 16
_MOST_SEAMS = 2 / 3
"""Largest share of a strip's cells that may be lines between segments. Where there are more, none
are drawn: lines in some places only would make the others look like one long segment."""
TIME_TOLERANCE = 1e-6


def timeline_lines(report: Report, legend: Legend, canvas: Canvas) -> list[Text]:
    """Draw strips to scale, axis and legend; one line if there are no segments."""
    segments = report.segments or ()
    start, end = legend.span
    if not segments:
        return canvas.flow([canvas.text("No segments.", "dim")], "")
    if end <= start:
        return []
    if any(_overlap(part) for part in _tracks(segments).values()):
        return _lanes(report, legend, canvas)
    return _strips(report, legend, canvas)


def _strips(report: Report, legend: Legend, canvas: Canvas) -> list[Text]:
    """Draw one strip for each track."""
    tracks = _tracks(report.segments or ())
    indent = max(len(name) for name in tracks)
    indent += 2 if indent else 0
    lines = []
    for name, segments in tracks.items():
        line = canvas.text(f"{name:<{indent}}", "dim")
        line.append_text(_strip(report, segments, legend, canvas, canvas.width - indent))
        lines.append(line)
    lines.append(_axis(legend, canvas, indent))
    return [*lines, *legend.lines(gaps=bool(_gaps(report)))]


def _lanes(report: Report, legend: Legend, canvas: Canvas) -> list[Text]:
    """Draw one strip for each label, because classes overlap."""
    labels = legend.longest(_MAX_LANES)
    names = [canvas.text(label) for label in labels]
    indent = min(max(name.cell_len for name in names), canvas.width // 4) + 4
    lines = []
    for label, name in zip(labels, names, strict=True):
        line = legend.mark(label)
        line.append(" ")
        line.append_text(canvas.cut(name, indent - 4, pad=True))
        line.append("  ")
        mine = [s for s in report.segments or () if s.label == label]
        line.append_text(_strip(report, mine, legend, canvas, canvas.width - indent))
        lines.append(line)
    lines.append(_axis(legend, canvas, indent))
    if len(labels) < len(legend.labels):
        more = len(legend.labels) - len(labels)
        note = canvas.text(f"{canvas.glyphs.ellipsis} {more:,} more labels", "dim")
        lines.append(canvas.cut(note, canvas.width))
    return lines


def _strip(
    report: Report, segments: Sequence[Segment], legend: Legend, canvas: Canvas, width: int
) -> Text:
    labels = legend.labels
    count = 2 * width if canvas.color else width
    parts = pixels(segments, labels, _gaps(report), legend.span, count)
    letters = [legend.letters[label] for label in labels]
    colors = [legend.colors[label] for label in labels]
    if canvas.color:
        strip = colored_strip(parts, colors, letters, canvas.glyphs)
    else:
        strip = plain_strip(parts, letters, canvas.glyphs)
    seams = _seams(segments, legend, width)
    if not seams or len(seams) > width * _MOST_SEAMS:
        return strip
    shown = {cell: legend.colors[label] if canvas.color else None for cell, label in seams.items()}
    return with_seams(strip, shown, canvas.glyphs)


def _seams(segments: Sequence[Segment], legend: Legend, width: int) -> dict[int, str]:
    """Return the label of each cell in which a segment directly follows another of its label."""
    start, end = legend.span
    cell = (end - start) / width
    ordered = sorted(segments, key=lambda s: s.start)
    return {
        min(int((b.start - start) / cell), width - 1): b.label
        for a, b in pairwise(ordered)
        if a.label == b.label and b.start - a.end < TIME_TOLERANCE
    }


def _gaps(report: Report) -> Sequence[tuple[float, float]]:
    return report.partial.gaps if report.partial else ()


def _axis(legend: Legend, canvas: Canvas, indent: int) -> Text:
    line = Text(" " * indent, no_wrap=True)
    line.append_text(axis(legend.span, canvas.width - indent, canvas.glyphs))
    return line


def _tracks(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    tracks: dict[str, list[Segment]] = {}
    for segment in segments:
        tracks.setdefault(segment.track or "", []).append(segment)
    return tracks


def _overlap(segments: Sequence[Segment]) -> bool:
    ordered = sorted(segments, key=lambda s: s.start)
    return any(b.start < a.end for a, b in pairwise(ordered))
