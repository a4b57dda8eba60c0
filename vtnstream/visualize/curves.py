"""Draw a training run as an image: losses on the left, scores on the right."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _GAP = 460, 300, 56, 30, 34, 24
_BACKGROUND, _INK, _FAINT = "#ffffff", "#333333", "#e2e2e2"
_COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#7f7f7f", "#8c564b")
_SCALE = 2
"""Pixels per unit of the layout; 2 keeps lines smooth on high-resolution screens."""

Points = Sequence[tuple[float, float]]


def training_curves(
    losses: Mapping[str, Points], scores: Mapping[str, Points], best: int | None = None
) -> bytes:
    """Return the image as PNG bytes.

    Args:
        losses: name -> (epoch, value) of each curve; a value that is not finite interrupts it.
        scores: name -> (epoch, value) of each curve, in percent.
        best: the epoch whose weights were kept; a vertical line marks it in both panels.
    """
    from PIL import Image, ImageDraw, ImageFont

    panels = [(losses, "loss", None), (scores, "scores, %", (0.0, 100.0))]
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
    """One pair of axes with its curves."""

    def __init__(
        self, draw: Any, left: int, curves: Mapping[str, Points], span: tuple[float, float] | None
    ) -> None:
        self.draw, self.curves = draw, curves
        self.box = (left + _LEFT, _TOP, left + _WIDTH - _GAP, _HEIGHT - _BOTTOM)
        points = [point for curve in curves.values() for point in curve if math.isfinite(point[1])]
        epochs = [x for x, _ in points] or [1.0]
        self.first, self.last = min(epochs), max(*epochs, min(epochs) + 1)
        values = [y for _, y in points] or [0.0, 1.0]
        self.low, self.high = span or _axis_range(min(values), max(values))

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return the pixel coordinates of a data point."""
        left, top, right, bottom = self.box
        across = left + (x - self.first) / (self.last - self.first) * (right - left)
        down = bottom - (y - self.low) / (self.high - self.low) * (bottom - top)
        return across * _SCALE, down * _SCALE

    def paint(self, title: str, best: int | None) -> None:
        """Draw title, axes, the mark of the best epoch, curves and legend."""
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
        """Draw one curve, interrupted at values that are not finite; an isolated point becomes a
        dot."""
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
        """Write text at a position in layout units."""
        place = (at[0] * _SCALE, at[1] * _SCALE)
        self.draw.text(place, text, fill=color, anchor=anchor)


def _axis_range(low: float, high: float) -> tuple[float, float]:
    """Return the axis range: that of the values with a margin, or from 0 if ``low`` is near 0."""
    room = (high - low) * 0.06 or max(abs(high), 1.0) * 0.06
    return (0.0 if 0 <= low < 0.5 * high else low - room), high + room


def _ticks(low: float, high: float) -> list[float]:
    """Return four to nine round numbers in the range."""
    step = 10 ** math.floor(math.log10((high - low) / 4))
    step *= next(m for m in (5, 2.5, 2, 1) if (high - low) / (step * m) >= 4 or m == 1)
    first = math.ceil(low / step)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]
