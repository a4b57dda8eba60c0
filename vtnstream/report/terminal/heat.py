"""Draw a curve as one line of characters, from cold (low) to warm (high)."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from vtnstream.report.terminal.canvas import Canvas
from vtnstream.types import Curve

_LEVELS = "▁▂▃▄▅▆▇█"
_PLAIN_LEVELS = ".:-=+*#%@"
_COLD, _MIDDLE, _WARM = (59, 91, 165), (190, 190, 190), (200, 62, 46)


def heat_strip(curve: Curve, canvas: Canvas, width: int) -> Text:
    """Draw a line of ``width`` cells.

    Heights and colours follow the square root of the value, so that one sharp peak does not hide
    the rest. Parts without a value show the mark of a gap.
    """
    cells = resampled(curve, width)
    known = [value for value in cells if value is not None]
    peak = max(known, default=0.0)
    levels = _LEVELS if canvas.glyphs.ellipsis == "…" else _PLAIN_LEVELS
    text = Text(no_wrap=True)
    for value in cells:
        if value is None:
            text.append(canvas.glyphs.gap, "dim")
            continue
        share = (max(value, 0.0) / peak) ** 0.5 if peak > 0 else 0.0
        level = levels[min(int(share * len(levels)), len(levels) - 1)]
        text.append(level, heat_color(share) if canvas.color else "")
    return text


def heat_color(share: float) -> str:
    """Return the colour of a share, from cold (0) over grey to warm (1), as ``#rrggbb``."""
    low, high, step = (
        (_COLD, _MIDDLE, share * 2) if share < 0.5 else (_MIDDLE, _WARM, share * 2 - 1)
    )
    mixed = (round(a + (b - a) * step) for a, b in zip(low, high, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def resampled(curve: Curve, width: int) -> list[float | None]:
    """Reduce the curve to ``width`` parts: the highest value of each, so that short peaks
    remain."""
    values: Sequence[float | None] = curve.values
    cells: list[float | None] = []
    for cell in range(width):
        first = cell * len(values) // width
        stop = max((cell + 1) * len(values) // width, first + 1)
        known = [value for value in values[first:stop] if value is not None]
        cells.append(max(known) if known else None)
    return cells
