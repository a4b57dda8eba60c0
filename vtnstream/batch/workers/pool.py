"""The interface of worker pools: processes of this machine, or actors of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, Self

from vtnstream.batch.workers.executor import ExecutorInfo
from vtnstream.batch.workers.outcome import Outcome, Task


class MessageSink(Protocol):
    """Receives the messages of a pool."""

    def warn(self, message: str) -> None:
        """Receive a warning."""

    def note(self, message: str) -> None:
        """Receive a detail, for ``-v``."""

    def debug(self, text: str) -> None:
        """Receive the last output of a worker that died, for ``--debug``."""


class IgnoreMessages:
    """Ignores all messages."""

    def warn(self, message: str) -> None:
        pass

    def note(self, message: str) -> None:
        pass

    def debug(self, text: str) -> None:
        pass


OnProgress = Callable[[float, str], None]
"""Called with the sum of the done shares of the current videos (0.5 is half of one), and a note."""


class Pool(Protocol):
    """A pool of workers, which exist while the context lasts."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

    def start(self) -> ExecutorInfo:
        """Start the first worker.

        Raises:
            UsageError: the request is wrong: the executor cannot be made.
            BatchError: the worker does not start.
        """
        ...

    def run(self, tasks: Sequence[Task], on_progress: OnProgress) -> Generator[Outcome, None, None]:
        """Process all tasks in any order. Each yields one outcome, even if its worker dies.

        Raises:
            UsageError: the request is wrong for every video.
            BatchError: workers no longer start.
        """
        ...
