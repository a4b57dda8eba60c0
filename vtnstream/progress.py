"""What a long piece of work tells whoever watches. The library knows only this protocol;
rich lives in ``cli`` and ``report/terminal/render.py``."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the state of one piece of work at a time."""

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        """Work named ``what`` begins; ``total`` in ``unit`` where it is known."""

    def advance(self, done: float, *, note: str = "") -> None:
        """``done`` of ``total`` is reached (absolute, not a step)."""

    def finish(self) -> None:
        """The work has ended, well or not."""

    def warn(self, message: str) -> None:
        """Something the user should know; shown once, never stops the work."""


class NullProgress:
    """Tells nobody."""

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        pass

    def advance(self, done: float, *, note: str = "") -> None:
        pass

    def finish(self) -> None:
        pass

    def warn(self, message: str) -> None:
        pass
