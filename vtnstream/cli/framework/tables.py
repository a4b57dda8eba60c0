"""Print tables that fit the width of the output without breaking a cell.

The width is that of the terminal, or what COLUMNS says; without either there is no limit. Names and
paths in a table are copied from it, so a cell is never broken: a row that is too wide is printed on
several lines.
"""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence

from vtnstream.cli.framework.console import Console, visible

_GAP = "  "
_NARROWEST = 20


def print_table(
    console: Console,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
    key: str | None = None,
) -> None:
    """Print rows below their headers on standard output.

    If the table is wider than the output, each row becomes a block: the cell of ``key`` on a line
    of its own, below it the other cells with their headers.

    Args:
        console: prints the table.
        headers: header of each column.
        rows: cells as text.
        right: headers of right-aligned columns.
        key: header of the column that names the row; None is the first.
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    lines = [list(headers), *cells]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(headers))]
    limit = _output_width()
    if limit is not None and sum(widths) + len(_GAP) * (len(widths) - 1) > limit:
        place = 0 if key is None else list(headers).index(key)
        for row in cells:
            _print_block(console, headers, row, place, limit)
        return
    for line in lines:
        parts = [
            _padded(cell, width, right=header in right)
            for cell, width, header in zip(line, widths, headers, strict=True)
        ]
        console.out(_GAP.join(parts).rstrip())


def print_facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    """Print lines of name and value on standard output, with the values aligned. Values that are
    too long go on in the next line, at a blank."""
    indent = max((_width(name) for name, _ in facts), default=0) + len(_GAP)
    limit = _output_width()
    for name, value in facts:
        room = None if limit is None else max(limit - indent, _NARROWEST)
        first, *more = _wrapped(visible(value).split(" "), " ", room) or [""]
        console.out(f"{_padded(name, indent)}{first}".rstrip())
        for line in more:
            console.out(" " * indent + line)


def _output_width() -> int | None:
    """Columns of standard output; None if it is no terminal and COLUMNS is not set."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit():
        return max(shutil.get_terminal_size().columns, _NARROWEST)
    return None


def _print_block(
    console: Console, headers: Sequence[str], row: Sequence[str], place: int, limit: int
) -> None:
    console.out(row[place])
    others = [
        f"{header} {cell}".lstrip()
        for number, (header, cell) in enumerate(zip(headers, row, strict=True))
        if number != place and cell
    ]
    for line in _wrapped(others, _GAP, limit - len(_GAP)):
        console.out(_GAP + line)


def _wrapped(parts: Sequence[str], gap: str, room: int | None) -> list[str]:
    """Lines of whole parts, each at most ``room`` wide if its first part is not wider alone."""
    lines: list[str] = []
    for part in parts:
        joined = f"{lines[-1]}{gap}{part}" if lines else part
        if lines and (room is None or _width(joined) <= room):
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


def _padded(text: str, width: int, *, right: bool = False) -> str:
    blanks = " " * max(0, width - _width(text))
    return blanks + text if right else text + blanks


def _width(text: str) -> int:
    """Columns of a text on a terminal: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
