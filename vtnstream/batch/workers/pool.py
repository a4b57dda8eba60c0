"""What works off tasks: processes of this machine, or the actors of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, Self

from vtnstream.batch.workers.executor import EngineFacts
from vtnstream.batch.workers.outcome import Outcome, Task


class Voice(Protocol):
    """Who hears what a pool has to say beside its outcomes."""

    def warn(self, message: str) -> None:
        """What the user should know."""

    def note(self, message: str) -> None:
        """What the curious want to know."""

    def debug(self, text: str) -> None:
        """What a worker printed before it died."""


class Silence:
    """Nobody hears."""

    def warn(self, message: str) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def debug(self, text: str) -> None:
        pass


Tell = Callable[[float, str], None]
"""Called with how many videos are done in part (0.5 is half of one), and what is going on."""


class Pool(Protocol):
    """Workers, there while the context lasts."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

    def start(self) -> EngineFacts:
        """Bring up the first worker.

        Raises:
            UsageError: what was asked for cannot be made.
            BatchError: it does not start.
        """
        ...

    def run(self, tasks: Sequence[Task], tell: Tell) -> Generator[Outcome, None, None]:
        """Do every task, in any order; each gives one outcome, whatever happens to its worker.

        Raises:
            UsageError: the request is wrong whatever the video.
            BatchError: workers do not start any more.
        """
        ...
