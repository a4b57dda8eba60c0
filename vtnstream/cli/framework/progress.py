"""Progress displays: a live bar on a terminal, plain lines elsewhere.

The first plain line is printed at once, later ones at growing intervals, so that the log of a long
run stays short.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vtnstream.cli.framework.console import Console, visible
from vtnstream.cli.framework.interrupts import INTERRUPTS
from vtnstream.progress import NullProgress
from vtnstream.timecode import format_time

if TYPE_CHECKING:
    from rich.progress import Progress as RichBars
    from rich.progress import TaskID

_INTERVALS = ((0.0, 2.0), (10.0, 5.0), (120.0, 10.0), (1200.0, 30.0))
"""(seconds since the start, seconds between plain lines from then on)."""
_SETTLE_SECONDS = 1.0
"""Shortest time over which a rate is computed."""


def make_progress(console: Console) -> CommandProgress:
    """Return the display that ``--progress`` selects, on standard error."""
    kind = console.progress
    if console.verbosity < 0 or kind == "none":
        return CommandProgress(console)
    if kind == "auto":
        live = sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")
        kind = "rich" if live else "plain"
    return _RichProgress(console) if kind == "rich" else PlainProgress(console)


class Pace:
    """Computes the rate and remaining time of one task.

    Work that an earlier run has done (stored features) does not count into the rate.
    """

    def __init__(self, total: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.total = total
        self.done = 0.0
        self._clock = clock
        self._began = clock()
        self._first: float | None = None

    def advance(self, done: float) -> None:
        if self._first is None:
            self._first, self._began = done, self._clock()
        self.done = done

    @property
    def seconds(self) -> float:
        return self._clock() - self._began

    @property
    def gained(self) -> float:
        """Units done in this run."""
        return self.done - (self._first or 0.0)

    @property
    def rate(self) -> float | None:
        """Units per second, or None during the first second."""
        settled = self.gained > 0 and self.seconds >= _SETTLE_SECONDS
        return self.gained / self.seconds if settled else None

    @property
    def seconds_left(self) -> float | None:
        if self.rate is None or self.total is None:
            return None
        return max(0.0, self.total - self.done) / self.rate

    def rate_text(self, unit: str) -> str:
        """Format the rate: ``31.2 frames/s``, or ``4.1 s/epoch`` below one per second; empty
        without a rate."""
        rate = self.rate
        if rate is None or unit == "s":  # seconds per second are not informative
            return ""
        if rate < 1:
            return f"{1 / rate:,.1f} s/{unit.removesuffix('s')}"
        return f"{rate:,.{0 if rate >= 100 else 1}f} {unit}/s"

    def left_text(self) -> str:
        """Format the remaining time: ``1:20 left``, or empty without a rate."""
        left = self.seconds_left
        return "" if left is None else f"{format_time(left, digits=0)} left"


class CommandProgress(NullProgress):
    """Shows no progress; warnings are printed by the console.

    Attributes:
        prefix: text before the name of the task, such as ``[2/5]``.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self.prefix = ""

    def warn(self, message: str) -> None:
        self._console.warn(message)

    def close(self) -> None:
        """Remove the display."""


class PlainProgress(CommandProgress):
    """Prints lines on standard error."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._clock = clock
        self._what, self._unit = "", ""
        self._pace = Pace(None, clock)
        self._began = clock()
        self._last = clock()
        self._open = False

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        INTERRUPTS.check()
        self._what, self._unit = what, unit
        self._pace = Pace(total, self._clock)
        self._open = True
        size = "" if total is None else f", {total:,.0f} {unit}"
        self._say(f"started{size}")

    def advance(self, done: float, *, note: str = "") -> None:
        self._pace.advance(done)
        if self._clock() - self._last >= self._interval():
            self._say(", ".join(part for part in (*self._state(), note) if part))

    def finish(self) -> None:
        if INTERRUPTS.signum:  # what was begun is not done
            self._open = False
        if self._open and self._pace.gained:
            rate = self._pace.rate_text(self._unit)
            amount = f"{self._pace.done:,.0f} {self._unit}"
            self._say(f"done, {amount}, {rate}" if rate else f"done, {amount}")
        elif self._open and self._pace.done:
            self._say(f"{self._pace.done:,.0f} {self._unit} from the cache")
        self._open = False

    def _interval(self) -> float:
        age = self._clock() - self._began
        return next(interval for since, interval in reversed(_INTERVALS) if age >= since)

    def _state(self) -> tuple[str, ...]:
        pace = self._pace
        amount = f"{pace.done:,.0f} {self._unit}"
        if pace.total:
            share = min(1.0, pace.done / pace.total)
            amount = f"{share:.0%} ({pace.done:,.0f} of {pace.total:,.0f} {self._unit})"
        return (amount, pace.rate_text(self._unit), pace.left_text())

    def _say(self, text: str) -> None:
        self._last = self._clock()
        self._console.say(f"{self.prefix}{self._what}: {text}")


class _RichProgress(CommandProgress):
    """Shows a live line with bar, rate and time left; messages are printed above it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bars: RichBars | None = None
        self._task: TaskID | None = None
        self._unit = ""
        self._pace = Pace(None)

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        INTERRUPTS.check()
        self.close()
        self._unit, self._pace = unit, Pace(total)
        self._bars = _bars()
        self._task = self._bars.add_task(
            f"{self.prefix}{visible(what)}", total=total, rate="", left=""
        )
        self._console.above = self._print_above
        self._console.suspend = self.close
        self._bars.start()

    def advance(self, done: float, *, note: str = "") -> None:
        self._pace.advance(done)
        if self._bars is not None and self._task is not None:
            if self._pace.total is not None and done > self._pace.total:
                self._pace.total = None  # the total from the header was too low
                self._bars.update(self._task, total=None)
            self._bars.update(
                self._task,
                completed=done,
                rate=note or self._pace.rate_text(self._unit),
                left=self._pace.left_text(),
            )

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        bars, self._bars = self._bars, None
        self._console.above = self._console.suspend = None
        if bars is not None:
            with suppress(OSError):  # the terminal was closed
                bars.stop()

    def _print_above(self, line: str) -> None:
        from rich.text import Text

        if self._bars is not None:
            self._bars.console.print(Text(line), soft_wrap=True)


def _bars() -> RichBars:
    """Return a progress bar that fits the terminal: always name, percentage and time left, bar
    and rate if there is room."""
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Bars
    from rich.table import Column

    terminal = RichConsole(stderr=True, highlight=False)
    width = terminal.width

    def text(template: str, column: Column) -> TextColumn:
        return TextColumn(template, markup=False, table_column=column)

    # Column widths are fixed, so that the line does not move as numbers grow.
    rest: list[Any] = [TaskProgressColumn(table_column=Column(min_width=4, no_wrap=True))]
    if width >= 72:
        column = Column(width=max(14, width // 5), justify="right", no_wrap=True)
        rest.append(text("{task.fields[rate]}", column))
    rest.append(text("{task.fields[left]}", Column(width=9, justify="right")))
    taken = 4 + 10 + (max(14, width // 5) + 1 if width >= 72 else 0)
    if width >= 60:
        bar = min(60, width // 5)
        rest.insert(0, BarColumn(bar_width=bar))
        taken += bar + 1
    name = Column(no_wrap=True, overflow="ellipsis", max_width=max(8, width - taken - 2))
    return Bars(text("{task.description}", name), *rest, console=terminal, transient=True)
