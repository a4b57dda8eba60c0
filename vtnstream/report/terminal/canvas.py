"""Fit text to the width of a terminal: cut, pad and wrap it, counted in cells (a CJK character
takes two)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from vtnstream.report.terminal.glyphs import ASCII, UNICODE, Glyphs, printable

_MIN_WIDTH = 30


@dataclass(frozen=True, slots=True)
class Canvas:
    """The abilities of a terminal.

    Attributes:
        width: cells in a line.
        color: whether it shows colours.
        glyphs: characters it can show.
        encoding: of its stream.
    """

    width: int
    color: bool
    glyphs: Glyphs
    encoding: str

    @classmethod
    def of(cls, console: Console) -> Canvas:
        unicode = console.encoding.lower().startswith("utf")
        return cls(
            width=max(_MIN_WIDTH, console.width),
            color=console.color_system is not None and not console.no_color,
            glyphs=UNICODE if unicode else ASCII,
            encoding=console.encoding,
        )

    def text(self, text: str, style: str = "") -> Text:
        """Convert any text to one safe line; square brackets are not markup.

        The style applies to this text only, not to text that is appended later.
        """
        return Text(no_wrap=True).append(printable(text, self.encoding), style)

    def cut(self, text: Text, width: int, *, pad: bool = False) -> Text:
        """Cut a line at the end to fit ``width``; with ``pad``, fill it up to ``width``."""
        line = text.copy()
        if line.cell_len > width:
            line.truncate(max(0, width - cell_len(self.glyphs.ellipsis)))
            line.rstrip()
            line.append(self.glyphs.ellipsis)
            line.truncate(width)
        if pad:
            line.append(" " * (width - line.cell_len))
        return line

    def cut_left(self, text: Text, width: int) -> Text:
        """Cut a line at the beginning to fit ``width``; of a path, the file name remains."""
        if text.cell_len <= width:
            return text
        room, start = width - cell_len(self.glyphs.ellipsis), len(text)
        while start > 0 and cell_len(text.plain[start - 1 :]) <= room:
            start -= 1
        cut = text[start:]
        style = cut.spans[0].style if cut.spans else ""
        return Text(no_wrap=True).append(self.glyphs.ellipsis, style).append_text(cut)

    def flow(self, pieces: Iterable[Text], separator: str) -> list[Text]:
        """Arrange pieces in as few lines as possible; a piece longer than a line is cut."""
        lines: list[Text] = []
        for piece in pieces:
            fitted = self.cut(piece, self.width)
            if lines and lines[-1].cell_len + len(separator) + fitted.cell_len <= self.width:
                lines[-1].append(separator, "dim")
                lines[-1].append_text(fitted)
            else:
                lines.append(fitted)
        return lines
