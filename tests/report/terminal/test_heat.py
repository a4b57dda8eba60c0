"""Heat strips keep their width, their peaks and their gaps."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from vtnstream.report.terminal.canvas import Canvas
from vtnstream.report.terminal.heat import heat_color, heat_strip, resampled
from vtnstream.types import Curve


def canvas(width: int, *, color: bool = False) -> Canvas:
    console = Console(
        file=io.TextIOWrapper(io.BytesIO(), "utf-8"),
        width=width,
        force_terminal=color,
        color_system="truecolor" if color else None,
    )
    return Canvas.of(console)


@pytest.mark.parametrize("width", [30, 80, 200])
@pytest.mark.parametrize("count", [1, 7, 80, 512])
def test_width_and_peak(width: int, count: int) -> None:
    values: list[float | None] = [0.1] * count
    values[count // 2] = 9.0
    strip = heat_strip(Curve(0, 10, tuple(values)), canvas(width), width).plain
    assert len(strip) == width
    assert "█" in strip
    assert (count == 1) == ("▁" not in strip)


def test_gaps_are_marked() -> None:
    curve = Curve(0, 4, (1.0, None, None, 2.0))
    assert heat_strip(curve, canvas(40), 4).plain == "▆░░█"
    assert resampled(curve, 8) == [1.0, 1.0, None, None, None, None, 2.0, 2.0]


def test_a_curve_of_zeros() -> None:
    assert heat_strip(Curve(0, 1, (0.0, 0.0)), canvas(30), 2).plain == "▁▁"


def test_colour_only_if_the_terminal_has_it() -> None:
    curve = Curve(0, 1, (0.0, 4.0))
    assert not any(span.style for span in heat_strip(curve, canvas(30), 2).spans)
    styles = [str(span.style) for span in heat_strip(curve, canvas(30, color=True), 2).spans]
    assert styles == [heat_color(0), heat_color(1)]
