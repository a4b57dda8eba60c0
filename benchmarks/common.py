"""Options, tables, targets and output that all benchmarks share."""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine

RESULTS = Path(__file__).parent / "results"

Cell = str | int | float | None


@dataclass
class Table:
    """Rows under named columns; a cell of None is shown as a dash."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[Cell]] = field(default_factory=list)
    note: str = ""

    def add(self, *cells: Cell) -> None:
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.title}: {len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(cells)

    def markdown(self) -> str:
        """Format as Markdown with aligned columns."""
        texts = [list(self.columns), *([shown(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in texts) for i in range(len(self.columns))]
        numeric = [
            bool(self.rows)
            and all(isinstance(row[i], (int, float)) or row[i] is None for row in self.rows)
            for i in range(len(self.columns))
        ]

        def line(row: Sequence[str]) -> str:
            cells = (
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(row, widths, numeric, strict=True)
            )
            return f"| {' | '.join(cells)} |"

        rules = [
            "-" * (width - 1) + "-:"[right] for width, right in zip(widths, numeric, strict=True)
        ]
        lines = [f"### {self.title}", "", line(texts[0]), line(rules), *map(line, texts[1:])]
        return "\n".join([*lines, *(["", self.note] if self.note else [])])


@dataclass(frozen=True)
class Target:
    """One requirement, and whether it is reached.

    Attributes:
        what: description.
        measured: None if it could not be measured; ``why`` gives the reason.
        bound: limit that the measured value is compared with.
        at_most: whether smaller values are better.
        why: a remark.
    """

    what: str
    measured: float | None
    bound: float
    at_most: bool = False
    why: str = ""

    @property
    def reached(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.bound if self.at_most else self.measured >= self.bound

    @property
    def verdict(self) -> str:
        word = {None: "not measured", True: "reached", False: "NOT REACHED"}[self.reached]
        return f"{word}: {self.why}" if self.why else word


@dataclass
class Result:
    """All results of one benchmark."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Reasons why vtnstream has no measurement: the benchmark fails after printing its tables."""
    machine: dict[str, Any] = field(default_factory=machine.describe)
    finished: bool = False
    date: str = field(default_factory=lambda: datetime.date.today().isoformat())

    def table(self, title: str, *columns: str, note: str = "") -> Table:
        made = Table(title, columns, note=note)
        self.tables.append(made)
        return made

    def target(
        self,
        what: str,
        measured: float | None,
        bound: float,
        *,
        at_most: bool = False,
        why: str = "",
    ) -> None:
        self.targets.append(Target(what, measured, bound, at_most, why))

    def markdown(self) -> str:
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        parts = [f"## {self.name}, {self.date}", machine.sentence(self.machine)]
        parts += [f"Settings: {settings}."] if settings else []
        parts += [] if self.finished else ["**Unfinished: what was measured before it ended.**"]
        parts += [table.markdown() for table in self.tables]
        if self.targets:
            targets = Table("Must reach", ("target", "bound", "measured", "verdict"))
            for target in self.targets:
                sign = "<=" if target.at_most else ">="
                bound = f"{sign} {shown(target.bound)}"
                targets.add(target.what, bound, target.measured, target.verdict)
            parts.append(targets.markdown())
        parts += ["\n".join(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join(parts) + "\n"

    def data(self) -> dict[str, Any]:
        """Return the results as JSON data."""
        return {
            "benchmark": self.name,
            "date": self.date,
            "machine": self.machine,
            "settings": self.settings,
            "finished": self.finished,
            "tables": [
                {"title": t.title, "columns": list(t.columns), "rows": t.rows, "note": t.note}
                for t in self.tables
            ],
            "targets": [{**asdict(t), "reached": t.reached} for t in self.targets],
            "notes": self.notes,
        }

    def deliver(self, options: argparse.Namespace) -> None:
        """Print the tables; with ``--save`` also write them as Markdown and JSON.

        Raises:
            SystemExit: vtnstream could not be measured.
        """
        self.finished = True
        print(self.markdown(), end="", flush=True)
        if options.save is not None:
            print(f"saved: {self._save(options.save)}.md and .json")
        if self.broken:
            sys.exit("; ".join(self.broken))

    def keep(self, options: argparse.Namespace) -> None:
        """Write the results so far if ``--save`` is given, in case the benchmark is interrupted."""
        if options.save is not None:
            self._save(options.save)

    def _save(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        place = directory / f"{self.name}_{self.date}"
        place.with_suffix(".md").write_text(self.markdown(), encoding="utf-8")
        text = json.dumps(self.data(), indent=1, default=str, ensure_ascii=False)
        place.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
        return place


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of all benchmarks."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--save",
        nargs="?",
        type=Path,
        const=RESULTS,
        metavar="DIRECTORY",
        help="write NAME_DATE.md and .json here [benchmarks/results]",
    )
    return made


def shown(cell: Cell) -> str:
    """Format a cell with its significant digits and a thousands separator."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        if cell != cell:
            return "-"
        size = abs(cell)
        digits = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3
        return f"{cell:,.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def say(text: str) -> None:
    """Print a line about progress on standard error."""
    print(f"  {text}", file=sys.stderr, flush=True)


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def split(text: str) -> list[str]:
    """Parse a list of names: ``a,b,c``."""
    return [part.strip() for part in text.split(",") if part.strip()]
