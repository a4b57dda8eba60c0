"""Lay out the timeline of a page in percent of its width, so that it scales without redrawing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from vtnstream.intervals import Interval, total_length
from vtnstream.report.facts import percent
from vtnstream.report.terminal.glyphs import ink_on, label_colors, printable
from vtnstream.report.terminal.strip import STEPS
from vtnstream.report.writers.lanes import rows_of
from vtnstream.timecode import format_time
from vtnstream.types import Curve, Report, ScoreCurve, Segment

MAX_ROWS = 24
"""Largest number of rows of the timeline if classes overlap; the longest labels are shown."""

_MAX_LEGEND = 40
_TICKS = 10
_ROOM_FOR_TEXT = 4
"""Smallest width in percent of a segment that shows its label."""
_DIGITS = 4
_ATTENTION = "#b0568f"
_PLAIN = "#8a8a8a"


@dataclass(frozen=True, slots=True)
class Scale:
    """Converts seconds to percent of the width."""

    start: float
    end: float

    @classmethod
    def of(cls, report: Report) -> Scale:
        segments = report.segments or ()
        start = min([report.start_seconds, *(s.start for s in segments)])
        end = max([report.end_seconds, *(s.end for s in segments)])
        return cls(start, end if end > start else start + 1)

    def x(self, seconds: float) -> float:
        return round(100 * (seconds - self.start) / (self.end - self.start), _DIGITS)

    def width(self, start: float, end: float) -> float:
        return round(100 * (end - start) / (self.end - self.start), _DIGITS)


@dataclass(frozen=True, slots=True)
class Shape:
    """A segment in its row."""

    number: int
    x: float
    w: float
    color: str
    ink: str
    text: str
    title: str
    href: str | None
    tight: bool
    """Whether the segment is too narrow for its text on a page of usual width."""


@dataclass(frozen=True, slots=True)
class Row:
    """Consecutive segments, drawn in one row."""

    name: str
    segments: tuple[Shape, ...]


def rows(
    report: Report, scale: Scale, colors: Mapping[str, str], hrefs: Sequence[str | None]
) -> tuple[list[Row], int]:
    """Return the rows of a timeline, and the number of labels that are not shown."""
    numbers: dict[int, int] = {id(s): i for i, s in enumerate(report.segments or ())}
    named = rows_of(report.segments or ())
    longest = sorted(named, key=lambda name: -sum(s.end - s.start for s in named[name]))[:MAX_ROWS]

    def shape(segment: Segment) -> Shape:
        number = numbers[id(segment)]
        color = colors[segment.label]
        label = printable(segment.name)
        times = f"{format_time(segment.start)} – {format_time(segment.end)}"
        return Shape(
            number=number + 1,
            x=scale.x(segment.start),
            # Segments that are too short to see get a minimum width.
            w=max(scale.width(segment.start, segment.end), 0.05),
            color=color,
            ink=ink_on(color),
            text=label,
            title=f"{label}, {times}, {percent(segment.score)}",
            href=hrefs[number],
            tight=scale.width(segment.start, segment.end) < _ROOM_FOR_TEXT,
        )

    single = list(named) == ["segments"]
    order = {label: place for place, label in enumerate(colors)}
    found = [
        (order[segments[0].label], Row("" if single else name, tuple(map(shape, segments))))
        for name, segments in named.items()
        if name in longest
    ]
    return [row for _, row in sorted(found, key=lambda item: item[0])], len(named) - len(found)


@dataclass(frozen=True, slots=True)
class Tick:
    """A time on the axis; ``minor`` ticks are hidden in narrow windows."""

    x: float
    text: str
    minor: bool


def ticks(scale: Scale) -> list[Tick]:
    """Return about ten round times."""
    length = scale.end - scale.start
    step = next((s for s in STEPS if length / s <= _TICKS), STEPS[-1])
    first = math.ceil(scale.start / step - 1e-9)
    found = []
    for number in range(first, int(scale.end / step + 1e-9) + 1):
        time = number * step
        if scale.x(time) <= 96:
            text = format_time(time, digits=1 if step < 1 else 0)
            found.append(Tick(scale.x(time), text, bool((number - first) % 2)))
    return found


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A label, its colour and its share of the time."""

    label: str
    color: str
    percent: str


def legend(report: Report, scale: Scale, colors: Mapping[str, str]) -> list[LegendEntry]:
    """Return the labels that occur, in the model's order; at most :data:`_MAX_LEGEND`, the
    longest."""
    spans: dict[str, list[Interval]] = {}
    for segment in report.segments or ():
        spans.setdefault(segment.label, []).append(Interval(segment.start, segment.end))
    seconds = {label: total_length(mine) for label, mine in spans.items()}
    longest = sorted(seconds, key=lambda label: -seconds[label])[:_MAX_LEGEND]
    return [
        LegendEntry(
            printable(label), colors[label], percent(seconds[label] / (scale.end - scale.start))
        )
        for label in colors
        if label in longest
    ]


def colors_of(report: Report) -> dict[str, str]:
    """Return a colour for each label, as in the terminal."""
    occurring = (s.label for s in report.segments or ())
    curves = (curve.label for curve in report.scores)
    order = list(dict.fromkeys((*report.labels, *occurring, *curves)))
    return label_colors(order)


@dataclass(frozen=True, slots=True)
class Gap:
    """A span without frames."""

    x: float
    w: float


def gaps(report: Report, scale: Scale) -> list[Gap]:
    """Return the spans that could not be read."""
    found = report.partial.gaps if report.partial else ()
    return [Gap(scale.x(a), scale.width(a, b)) for a, b in found]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A curve as paths over ``parts`` columns of 100 units of height.

    Attributes:
        name, note, aria: descriptions for the reader.
        x, w: its position and width on the timeline in percent.
        line: path of the values.
        band: area between the lowest and highest value of each part, or empty.
        area: area from 0 to the values, or empty.
        even: height of the line of evenly spread attention, or 0.
        attention: whether the curve is the attention.
    """

    name: str
    note: str
    aria: str
    color: str
    x: float
    w: float
    parts: int
    line: str
    band: str = ""
    area: str = ""
    even: float = 0
    attention: bool = False


def curves(report: Report, scale: Scale, colors: Mapping[str, str]) -> list[Drawn]:
    """Return the curve of the attention first, then those of the labels' scores."""
    drawn = [_attention(report.attention, scale)] if report.attention else []
    return drawn + [_scores(curve, scale, colors, report.score_name) for curve in report.scores]


def _scores(curve: ScoreCurve, scale: Scale, colors: Mapping[str, str], score_name: str) -> Drawn:
    known = [v for v in (curve.high or curve.values) if v is not None]
    peak = percent(max(known)) if known else "-"
    label = printable(curve.label)
    return Drawn(
        name=f"{label} [{curve.track}]" if curve.track else label,
        note=f"up to {peak}",
        aria=f"{score_name.capitalize()} of {label} over time, at most {peak}",
        color=colors.get(curve.label, _PLAIN),
        x=scale.x(curve.start),
        w=scale.width(curve.start, curve.end),
        parts=len(curve.values),
        line=_line(curve.values),
        band=_band(curve.low, curve.high) if curve.low and curve.high else "",
    )


def _attention(curve: Curve, scale: Scale) -> Drawn:
    peak = max((v for v in curve.values if v is not None), default=0.0) or 1.0
    values = [None if v is None else v / peak for v in curve.values]
    return Drawn(
        name="attention",
        note=f"up to {peak:.1f} × even",
        aria=f"Attention of the class over time: at most {peak:.1f} times the average",
        color=_ATTENTION,
        x=scale.x(curve.start),
        w=scale.width(curve.start, curve.end),
        parts=len(values),
        line=_line(values),
        area=_band([None if v is None else 0.0 for v in values], values),
        even=_height(1 / peak) if peak > 1 else 0,
        attention=True,
    )


def _line(values: Sequence[float | None]) -> str:
    """Return a path with one line per stretch of values; lines extend to the edges of their
    parts."""
    return "".join(
        "M" + "L".join(f"{x:g},{_height(value):g}" for x, value in _corners(stretch))
        for stretch in _stretches(values)
    )


def _band(low: Sequence[float | None], high: Sequence[float | None]) -> str:
    path = ""
    for above, below in zip(_stretches(high), _stretches(low), strict=True):
        corners = [*_corners(above), *reversed(_corners(below))]
        path += "M" + "L".join(f"{x:g},{_height(value):g}" for x, value in corners) + "Z"
    return path


def _corners(stretch: list[tuple[int, float]]) -> list[tuple[float, float]]:
    """Return the points of a stretch: each value at the middle of its part, and both ends."""
    middle = [(column + 0.5, value) for column, value in stretch]
    return [(stretch[0][0], stretch[0][1]), *middle, (stretch[-1][0] + 1, stretch[-1][1])]


def _stretches(values: Sequence[float | None]) -> Iterator[list[tuple[int, float]]]:
    for known, group in groupby(enumerate(values), key=lambda item: item[1] is not None):
        if known:
            yield [(column, value) for column, value in group if value is not None]


def _height(value: float) -> float:
    """Convert a value from 0 to 1 to units from the top, with a margin for the width of the
    line."""
    return round(97 - 94 * min(max(value, 0.0), 1.0), 2)
