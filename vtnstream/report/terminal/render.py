"""Render a report as text of any width, with or without colour, for a terminal or a file."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from vtnstream.report.attention import attention_strip
from vtnstream.report.facts import class_lists, edit_facts, percent, run_facts, video_facts
from vtnstream.report.terminal.canvas import Canvas
from vtnstream.report.terminal.drawing import timeline_lines
from vtnstream.report.terminal.glyphs import ACCENT
from vtnstream.report.terminal.legend import Legend
from vtnstream.report.terminal.pictures import ImageRow, thumbnail_rows, way_to_draw
from vtnstream.report.writers.lanes import tracks_of
from vtnstream.timecode import format_span, format_time
from vtnstream.types import ClassScore, Partial, QueryAnswer, Report, Segment
from vtnstream.types.results import MATCH
from vtnstream.wording import plural

MAX_SEGMENTS = 30
"""Largest number of rows of the segment table; of longer tables the middle is left out."""

_WIDEST_BARS = 72
_WIDEST_PANEL = 100
_NARROW, _VERY_NARROW = 56, 38
"""Widths in cells below which the table has no length, and no end."""
_MAX_GAPS = 4


def print_report(
    report: Report,
    console: Console,
    *,
    top_k: int | None = None,
    max_segments: int = MAX_SEGMENTS,
) -> None:
    """Print a report: facts, classes, timeline, attention, segments, missing parts, and
    thumbnails where the report has some and the console shows images.

    No line is wider than the console, and only the sentences of the partial panel are wrapped.
    Without colour (``NO_COLOR``, no terminal) letters distinguish the labels.

    Args:
        report: the report.
        console: receives the lines.
        top_k: number of classes to show; None shows those of the report, up to ten.
        max_segments: rows of the segment table.
    """
    canvas = Canvas.of(console)
    items = _render_report(report, canvas, top_k=top_k, max_segments=max_segments)
    if any(report.thumbnails) and (way := way_to_draw(console)):
        items += [Text(), *thumbnail_rows(report, Legend.of(report, canvas), canvas, way)]
    for item in items:
        if isinstance(item, Panel):
            console.print(item, highlight=False)
        else:
            console.print(item, highlight=False, overflow="ignore", crop=False)


def _render_report(
    report: Report,
    canvas: Canvas,
    *,
    top_k: int | None = None,
    max_segments: int = MAX_SEGMENTS,
) -> list[Text | Panel | ImageRow]:
    """Return the lines of a report, fitted to the canvas; arguments as :func:`print_report`."""
    items: list[Text | Panel | ImageRow] = list(_header(report, canvas))
    if report.classes:
        items += _class_tables(report, canvas, top_k or 10)
    if report.answers:
        items += [Text(), *_answers(report.answers, canvas)]
    legend = Legend.of(report, canvas)
    if report.segments is not None:
        items += [Text(), *timeline_lines(report, legend, canvas)]
    if report.attention is not None:
        items += [Text(), *attention_strip(report.attention, canvas)]
    if report.segments and max_segments:
        items += [Text(), *_segments(report, legend, canvas, max_segments)]
    if report.partial is not None:
        items += [Text(), _partial(report.partial, canvas)]
    return items


def _header(report: Report, canvas: Canvas) -> list[Text]:
    separator = f" {canvas.glyphs.dot} "
    lines = [canvas.cut_left(canvas.text(report.input, "bold"), canvas.width)]
    about = (
        edit_facts(report),
        video_facts(report, canvas.glyphs),
        run_facts(report, canvas.glyphs),
    )
    for facts in filter(None, about):
        lines += canvas.flow([canvas.text(fact, "dim") for fact in facts], separator)
    return lines


def _class_tables(report: Report, canvas: Canvas, top_k: int) -> list[Text]:
    """Return the classes, with a title for each list if there are several class heads."""
    lines: list[Text] = []
    for name, classes in class_lists(report):
        title = [canvas.cut(canvas.text(name, "dim"), canvas.width)] if name else []
        lines += [Text(), *title, *_classes(classes, canvas, top_k)]
    return lines


def _classes(classes: Sequence[ClassScore], canvas: Canvas, top_k: int) -> list[Text]:
    glyphs = canvas.glyphs
    shown = classes[:top_k]
    names = [canvas.text(c.label) for c in shown]
    widest = max(name.cell_len for name in names)
    name_width = min(widest, max(12, (canvas.width - 12) // 2), 48)
    bar_width = min(canvas.width - name_width - 11, _WIDEST_BARS)
    lines = []
    for number, (name, item) in enumerate(zip(names, shown, strict=True)):
        halves = round(2 * bar_width * item.score) if item.score == item.score else 0
        halves = min(max(halves, 0), 2 * bar_width)
        bar = glyphs.bar * (halves // 2) + glyphs.half_bar * (halves % 2)
        name.stylize("bold" if not number else "")
        line = canvas.cut(name, name_width, pad=True)
        line.append(f"  {percent(item.score):>7}  ", "" if not number else "dim")
        line.append(bar, ACCENT if not number else f"dim {ACCENT}")
        lines.append(_trimmed(line))
    return lines


def _answers(answers: Sequence[QueryAnswer], canvas: Canvas) -> list[Text]:
    """Return one line per query: whether it was found, and the time of its best match."""
    lines = []
    for answer in answers:
        line = canvas.text(answer.label, "bold")
        what = "found" if answer.found else "nothing found"
        digits = 2 if answer.at < 60 else 1
        at = format_time(answer.at, digits=digits)
        line.append(f": {what}, ", "" if answer.found else "yellow")
        line.append(f"best match {percent(answer.match)} at {at}", "dim")
        lines.append(canvas.cut(line, canvas.width))
    return lines


def _segments(report: Report, legend: Legend, canvas: Canvas, max_segments: int) -> list[Text]:
    segments: Sequence[Segment] = report.segments or ()
    if any(s.rank is not None for s in segments):  # a search shows the best first
        segments = sorted(segments, key=lambda s: (s.rank or 0, -s.score))
    columns = _Columns.fitting(segments, canvas)
    score = "match" if report.score_name == MATCH else "score"
    tracks = tracks_of(segments)
    lines: list[Text] = []
    for name, mine in tracks.items():
        head = columns.row(canvas, columns.head, canvas.text(" "), "label", score)
        head.stylize("dim")
        if len(tracks) > 1:
            title = canvas.text(f"{name}: {plural(len(mine), 'segment')}", "bold")
            lines += [*([Text()] * bool(lines)), canvas.cut(title, canvas.width)]
        most = max(max_segments // len(tracks), 1)
        lines += [head, *_rows(mine, legend, canvas, columns, most)]
    return lines


def _rows(
    segments: Sequence[Segment], legend: Legend, canvas: Canvas, columns: _Columns, most: int
) -> list[Text]:
    """Return the rows of one track."""
    shown, left_out, place = _without_middle(segments, most)
    rows = [
        columns.row(canvas, columns.times_of(s), legend.mark(s.label), s.name, percent(s.score))
        for s in shown
    ]
    if left_out:
        note = canvas.text(f"{canvas.glyphs.ellipsis} {left_out:,} more (use -f csv)", "dim")
        rows.insert(place, canvas.cut(note, canvas.width))
    return rows


def _without_middle(segments: Sequence[Segment], most: int) -> tuple[list[Segment], int, int]:
    """Return the segments to show, the number of others, and the row of the note about them."""
    left_out = len(segments) - most
    if left_out <= 1:  # the note would take the row of the only one left out
        return list(segments), 0, 0
    head = (most + 1) // 2
    return [*segments[:head], *segments[head + left_out :]], left_out, head


@dataclass(frozen=True, slots=True)
class _Columns:
    """The layout of the segment table: times are right-aligned, the label takes the remaining
    width."""

    head: tuple[str, ...]
    widths: tuple[int, ...]
    digits: int
    label_width: int

    @classmethod
    def fitting(cls, segments: Sequence[Segment], canvas: Canvas) -> _Columns:
        head: tuple[str, ...] = ("start", "end", "length")
        if canvas.width < _NARROW:
            head = head[: 1 if canvas.width < _VERY_NARROW else 2]
        digits = 2 if max(s.end for s in segments) < 60 else 1
        columns = cls(head, (), digits, 0)
        cells = [head, *(columns.times_of(s) for s in segments)]
        widths = tuple(max(map(len, column)) for column in zip(*cells, strict=True))
        fixed = sum(widths) + 2 * len(widths) + 2 + 9
        widest = max(5, *(canvas.text(s.name).cell_len for s in segments))
        return dataclasses.replace(
            columns, widths=widths, label_width=min(widest, max(4, canvas.width - fixed))
        )

    def times_of(self, segment: Segment) -> tuple[str, ...]:
        times = format_span(segment.start, segment.end, digits=self.digits)
        return times[: len(self.head)]

    def row(self, canvas: Canvas, times: Sequence[str], mark: Text, label: str, score: str) -> Text:
        line = canvas.text("")
        for time, width in zip(times, self.widths, strict=True):
            line.append(f"{time:>{width}}  ")
        line.append_text(mark)
        line.append(" ")
        line.append_text(canvas.cut(canvas.text(label), self.label_width, pad=True))
        line.append(f"  {score:>7}")
        return _trimmed(line)


def _partial(partial: Partial, canvas: Canvas) -> Panel:
    lines = [canvas.text(_capital(reason)) for reason in partial.reasons]
    read = f"Read {format_time(partial.seconds_read)}"
    if partial.seconds_expected:
        share = min(1.0, partial.seconds_read / partial.seconds_expected)
        read += f" of {format_time(partial.seconds_expected)} ({percent(share)})"
    lines.append(canvas.text(f"{read}."))
    if partial.gaps:
        shown = [
            f"{format_time(a)} {canvas.glyphs.dash} {format_time(b)}"
            for a, b in itertools.islice(partial.gaps, _MAX_GAPS)
        ]
        more = len(partial.gaps) - len(shown)
        rest = f" and {more:,} more" if more else ""
        lines.append(canvas.text(f"No frames at {', '.join(shown)}{rest}."))
    for line in lines:
        line.no_wrap = False
    return Panel(
        Text("\n").join(lines),
        title="partial result",
        title_align="left",
        border_style="yellow",
        box=box.ROUNDED if canvas.glyphs.ellipsis == "…" else box.ASCII,
        width=min(canvas.width, _WIDEST_PANEL, _panel_width(lines)),
    )


def _panel_width(lines: Sequence[Text]) -> int:
    return max(24, *(line.cell_len for line in lines)) + 4


def _capital(sentence: str) -> str:
    text = sentence[:1].upper() + sentence[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _trimmed(line: Text) -> Text:
    line.rstrip()
    return line
