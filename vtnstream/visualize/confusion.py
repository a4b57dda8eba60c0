"""Draw a confusion matrix as an image; rows are true classes, columns predicted ones."""

from __future__ import annotations

import io
from collections.abc import Sequence

_CELL, _MARGIN, _TITLE, _LETTER, _SCALE = 46, 12, 22, 7, 2
_LONGEST = 24
"""Maximum number of characters of a label that are shown."""
_BACKGROUND, _INK, _FULL = (255, 255, 255), (51, 51, 51), (31, 119, 180)


def confusion_image(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> bytes:
    """Return the image as PNG bytes.

    Each cell shows its percentage of its row, and the colour follows the percentage.

    Args:
        labels: K names.
        counts: (K, K), row is the true class.
    """
    from PIL import Image, ImageDraw, ImageFont

    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in labels]
    room = _MARGIN + _LETTER * max(map(len, names))
    size = _CELL * len(names)
    # Column names are rotated by 90 degrees and need the same space as the row names.
    width, height = room + size + _MARGIN, _TITLE + room + size + _MARGIN
    image = Image.new("RGB", (width * _SCALE, height * _SCALE), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(11 * _SCALE)
    top = _TITLE + room
    draw.text(
        (_MARGIN * _SCALE, 4 * _SCALE),
        "rows: truth, columns: answer, % of the row",
        font=font,
        fill=_INK,
    )
    for row, name in enumerate(names):
        middle = (top + (row + 0.5) * _CELL) * _SCALE
        draw.text(((room - 6) * _SCALE, middle), name, font=font, fill=_INK, anchor="rm")
        upright = Image.new("RGB", (room * _SCALE, 14 * _SCALE), _BACKGROUND)
        ImageDraw.Draw(upright).text((0, 0), name, font=font, fill=_INK)
        left = int((room + (row + 0.5) * _CELL - 7) * _SCALE)
        image.paste(upright.rotate(90, expand=True), (left, (_TITLE - 6) * _SCALE))
        total = sum(counts[row])
        for column, count in enumerate(counts[row]):
            share = count / total if total else 0.0
            color = tuple(
                round(b + (f - b) * share) for b, f in zip(_BACKGROUND, _FULL, strict=True)
            )
            x, y = (room + column * _CELL) * _SCALE, (top + row * _CELL) * _SCALE
            draw.rectangle((x, y, x + _CELL * _SCALE - 2, y + _CELL * _SCALE - 2), fill=color)
            if count:
                text, ink = f"{100 * share:.0f}", _BACKGROUND if share > 0.5 else _INK
                center = (x + _CELL * _SCALE / 2, y + _CELL * _SCALE / 2)
                draw.text(center, text, font=font, fill=ink, anchor="mm")
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()
