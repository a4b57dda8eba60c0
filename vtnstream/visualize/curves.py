"""A training as a picture: losses on the left, scores of the held-out videos on the right."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _GAP = 460, 300, 56, 30, 34, 24
_BACKGROUND, _INK, _FAINT = "#ffffff", "#333333", "#e2e2e2"
_COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#7f7f7f", "#8c564b")
_SCALE = 2
"""Pixels a unit: lines are smooth on any screen."""

Points = Sequence[tuple[float, float]]


def training_curves(
    losses: Mapping[str, Points], scores: Mapping[str, Points], best: int | None = None
) -> bytes:
    """PNG bytes.

    Args:
        losses: name -> (epoch, value) of each curve; values that are not finite break it.
        scores: the same, from 0 to 100.
        best: the epoch that was kept, marked in both.
    """
    from PIL import Image, ImageDraw, ImageFont

    panels = [(losses, "loss", None), (scores, "held-out videos", (0.0, 100.0))]
    shown = [panel for panel in panels if panel[0]]
    image = Image.new("RGB", (_WIDTH * max(len(shown), 1) * _SCALE, _HEIGHT * _SCALE), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    draw.font = ImageFont.load_default(11 * _SCALE)
    for number, (curves, title, span) in enumerate(shown):
        _Panel(draw, number * _WIDTH, curves, span).paint(title, best)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


class _Panel:
    """Axes and their curves."""

    def __init__(
        self, draw: Any, left: int, curves: Mapping[str, Points], span: tuple[float, float] | None
    ) -> None:
        self.draw, self.curves = draw, curves
        self.box = (left + _LEFT, _TOP, left + _WIDTH - _GAP, _HEIGHT - _BOTTOM)
        points = [point for curve in curves.values() for point in curve if math.isfinite(point[1])]
        epochs = [x for x, _ in points] or [1.0]
        self.first, self.last = min(epochs), max(*epochs, min(epochs) + 1)
        values = [y for _, y in points] or [0.0, 1.0]
        self.low, self.high = span or _around(min(values), max(values))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the data stands in the picture."""
        left, top, right, bottom = self.box
        across = left + (x - self.first) / (self.last - self.first) * (right - left)
        down = bottom - (y - self.low) / (self.high - self.low) * (bottom - top)
        return across * _SCALE, down * _SCALE

    def paint(self, title: str, best: int | None) -> None:
        """Everything of the panel."""
        left, top, right, bottom = self.box
        self.text((left, 8), title, _INK)
        for value in _ticks(self.low, self.high):
            _, y = self.place(self.first, value)
            self.draw.line((left * _SCALE, y, right * _SCALE, y), fill=_FAINT, width=_SCALE)
            self.text((left - 6, y / _SCALE), f"{value:.3g}", _INK, "rm")
        for epoch in sorted({self.first, (self.first + self.last) // 2, self.last}):
            x, _ = self.place(epoch, self.low)
            self.text((x / _SCALE, bottom + 5), f"{epoch:g}", _INK, "ma")
        if best is not None:
            x, _ = self.place(best, self.low)
            self.draw.line((x, top * _SCALE, x, bottom * _SCALE), fill="#bbbbbb", width=_SCALE)
        for (name, curve), color in zip(self.curves.items(), _COLORS, strict=False):
            self.line(curve, color)
            self.text((right, 8), name, color, "ra")
            right -= self.draw.textlength(name) / _SCALE + 10

    def line(self, curve: Points, color: str) -> None:
        """One curve, broken where it is no number; a point alone is a dot."""
        run: list[tuple[float, float]] = []
        for x, y in [*curve, (0.0, math.nan)]:
            if math.isfinite(y):
                run.append(self.place(x, y))
                continue
            if len(run) > 1:
                self.draw.line(run, fill=color, width=2 * _SCALE, joint="curve")
            elif run:
                ((across, down),) = run
                reach = 2 * _SCALE
                spot = (across - reach, down - reach, across + reach, down + reach)
                self.draw.ellipse(spot, fill=color)
            run = []

    def text(self, at: tuple[float, float], text: str, color: str, anchor: str = "la") -> None:
        """Text at a place in units."""
        place = (at[0] * _SCALE, at[1] * _SCALE)
        self.draw.text(place, text, fill=color, anchor=anchor)


def _around(low: float, high: float) -> tuple[float, float]:
    """A little more than the values take; losses start at 0 where that is near."""
    room = (high - low) * 0.06 or max(abs(high), 1.0) * 0.06
    return (0.0 if 0 <= low < 0.5 * high else low - room), high + room


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round numbers."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(m for m in (5, 2.5, 2, 1) if (high - low) / (step * m) >= 4 or m == 1)
    first = math.ceil(low / step)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]
