"""Print tables: fitted to the width of a terminal, at full width elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from vtnstream.cli.framework.console import Console, visible


def print_table(
    console: Console,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[str] = (),
) -> None:
    """Print rows below their headers on standard output.

    Args:
        console: prints the table.
        headers: header of each column; the last column takes the remaining width.
        rows: cells as text.
        right: headers of right-aligned columns.
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_fitted(console, headers, cells, right)
        return
    lines = [list(headers), *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headers))]
    for line in lines:
        parts = [
            cell.rjust(width) if header in right else cell.ljust(width)
            for cell, width, header in zip(line, widths, headers, strict=True)
        ]
        console.out("  ".join(parts).rstrip())


def _print_fitted(
    console: Console,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[str],
) -> None:
    from rich.console import Console as RichConsole
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        align = "right" if header in right else "left"
        table.add_column(header, justify=align, overflow="fold", no_wrap=header in right)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    with console.writing():
        RichConsole(highlight=False).print(table)


def print_facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    """Print lines of name and value on standard output, with the values aligned."""
    width = max((len(name) for name, _ in facts), default=0)
    for name, value in facts:
        console.out(f"{name.ljust(width)}  {visible(value)}".rstrip())
