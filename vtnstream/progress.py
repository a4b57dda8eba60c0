"""The protocol through which long tasks report their progress. Displays are in ``cli``."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one task at a time."""

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        """Begin the task ``what``; ``total`` is its size in ``unit``, or None if unknown."""

    def advance(self, done: float, *, note: str = "") -> None:
        """Report that ``done`` of ``total`` units are done: an absolute number, not an
        increment."""

    def finish(self) -> None:
        """End the task, with or without success."""

    def warn(self, message: str) -> None:
        """Show a warning once; the task continues."""


class NullProgress:
    """A progress receiver that does nothing."""

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        pass

    def advance(self, done: float, *, note: str = "") -> None:
        pass

    def finish(self) -> None:
        pass

    def warn(self, message: str) -> None:
        pass
