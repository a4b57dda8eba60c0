"""The legend of a timeline: colours, letters and shares of the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.text import Text

from vtnstream.intervals import Interval, total_length
from vtnstream.report.facts import percent
from vtnstream.report.terminal.canvas import Canvas
from vtnstream.report.terminal.glyphs import LETTERS, ink_on, label_colors, label_letters
from vtnstream.types import Report

_WIDEST_NAME = 28
_MAX_ENTRIES = 16


@dataclass(frozen=True, slots=True)
class Legend:
    """Labels that occur in a timeline, in the model's order.

    Attributes:
        seconds: label -> seconds its segments cover.
        colors: label -> colour, the same in every report of a model.
        letters: label -> letter.
        span: start and end of the timeline in seconds.
        canvas: the terminal.
    """

    seconds: Mapping[str, float]
    colors: Mapping[str, str]
    letters: Mapping[str, str]
    span: tuple[float, float]
    canvas: Canvas

    @classmethod
    def of(cls, report: Report, canvas: Canvas) -> Legend:
        segments = report.segments or ()
        spans: dict[str, list[Interval]] = {}
        for s in segments:
            spans.setdefault(s.label, []).append(Interval(s.start, s.end))
        order = list(dict.fromkeys((*report.labels, *spans)))
        seconds = {label: total_length(spans[label]) for label in order if label in spans}
        end = max([report.end_seconds, *(s.end for s in segments)])
        start = min([report.start_seconds, *(s.start for s in segments)])
        prominent = sorted(seconds, key=lambda label: -seconds[label])[: len(LETTERS)]
        return cls(
            seconds=seconds,
            colors=label_colors(order),
            letters=label_letters(list(seconds), prominent),
            span=(start, end),
            canvas=canvas,
        )

    @property
    def labels(self) -> list[str]:
        return list(self.seconds)

    def mark(self, label: str) -> Text:
        """Return the cell that represents a label: its letter, on its colour if there are
        colours."""
        color = self.colors[label]
        style = f"{ink_on(color)} on {color}" if self.canvas.color else ""
        return Text(no_wrap=True).append(self.letters[label], style)

    def longest(self, most: int) -> list[str]:
        """Return the ``most`` labels of the longest duration, in order.

        All are returned if only one more is left: the line about it would take the same room.
        """
        if len(self.seconds) <= most + 1:
            return self.labels
        chosen = sorted(self.seconds, key=lambda label: -self.seconds[label])[:most]
        return [label for label in self.seconds if label in chosen]

    def lines(self, *, gaps: bool) -> list[Text]:
        """Return each label with its mark and its share of the time, and with ``gaps`` the mark
        of a gap."""
        canvas = self.canvas
        most = self.longest(_MAX_ENTRIES)
        length = self.span[1] - self.span[0]
        pieces = [canvas.text("share of time:", "dim")]
        for label in most:
            piece = self.mark(label)
            piece.append(" ")
            piece.append_text(canvas.cut(canvas.text(label), _WIDEST_NAME))
            piece.append(f" {percent(self.seconds[label] / length)}", "dim")
            pieces.append(piece)
        if len(most) < len(self.seconds):
            more = len(self.seconds) - len(most)
            pieces.append(canvas.text(f"{canvas.glyphs.ellipsis} {more:,} more labels", "dim"))
        if gaps:
            pieces.append(canvas.text(f"{canvas.glyphs.gap} no frames", "dim"))
        return canvas.flow(pieces, "   ")
