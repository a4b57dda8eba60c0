"""Characters and colours of the terminal report."""

from __future__ import annotations

import colorsys
import string
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vtnstream.labels import BACKGROUND

LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
NO_LETTER = "*"

ACCENT = "#7c83c9"
"""Colour of the class bars, which no label has."""

_PALETTE = (  # Tableau 10: medium lightness, for light and dark backgrounds
    "#4e79a7",
    "#f28e2b",
    "#59a14f",
    "#e15759",
    "#b07aa1",
    "#76b7b2",
    "#edc948",
    "#ff9da7",
    "#9c755f",
    "#86a8d9",
)
_GREY = "#8a8a8a"
_GOLDEN = 0.618033988749895
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Characters for a terminal of one encoding."""

    dot: str
    times: str
    dash: str
    ellipsis: str
    bar: str
    half_bar: str
    block: str
    left_half: str
    right_half: str
    nothing: str
    gap: str
    tick: str
    seam: str


UNICODE = Glyphs("·", "×", "–", "…", "━", "╸", "█", "▌", "▐", "─", "░", "╵", "│")
ASCII = Glyphs("|", "x", "-", "...", "=", "-", "#", "#", "#", "-", ":", "|", "|")


def label_colors(labels: Sequence[str]) -> dict[str, str]:
    """Choose a colour for each label by its position, so that reports of one model look alike.

    Ten colours are fixed; further hues follow from the golden ratio. Background is grey.
    """
    shown = [label for label in labels if label != BACKGROUND]
    colors = {label: _color(i) for i, label in enumerate(shown)}
    return colors | {BACKGROUND: _GREY}


def _color(index: int) -> str:
    if index < len(_PALETTE):
        return _PALETTE[index]
    hue = index * _GOLDEN % 1
    lightness = (0.45, 0.58, 0.7)[index % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.5)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def ink_on(color: str) -> str:
    """Return black or white, whichever is more readable on a colour."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"


def label_letters(labels: Sequence[str], prominent: Collection[str]) -> dict[str, str]:
    """Choose a letter for each label in order.

    If there are too few letters, ``prominent`` labels get them and the others get a star.
    """
    lettered = [x for x in labels if len(labels) <= len(LETTERS) or x in prominent]
    letters = dict(zip(lettered, LETTERS, strict=False))
    return {label: letters.get(label, NO_LETTER) for label in labels}


def printable(text: str, encoding: str = "utf-8") -> str:
    """Return ``text`` on one line, safe for a terminal of that encoding.

    Control characters, line breaks, direction marks and undecodable bytes become escapes.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(c if _is_safe(c) else c.encode("unicode_escape").decode() for c in text)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _is_safe(character: str) -> bool:
    category = unicodedata.category(character)
    return character in _JOINERS or not (category[0] == "C" or category in ("Zl", "Zp"))
