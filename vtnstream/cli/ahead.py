"""Process small videos of a command ahead, several at a time, and return their results in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Generic, Self, TypeVar

from vtnstream.batch.identity import is_small
from vtnstream.cli.options.input_list import Input
from vtnstream.machine import num_cores
from vtnstream.progress import Progress

_T = TypeVar("_T")

_MOST = 8
_POLL_SECONDS = 0.1


class Ahead(Generic[_T]):
    """Calls a function for each input of a command. A context manager.

    Small files are processed in threads before their turn; what concerns them is shown in their
    turn. A larger file, an address or a stream is processed alone, in its turn.

    Args:
        function: processes the video of a path, in any thread.
        inputs: in the order in which results are asked for.
    """

    def __init__(self, function: Callable[[str, Progress], _T], inputs: Sequence[Input]) -> None:
        self._function = function
        self._paths = [item.path for item in inputs if item.error is None]
        self._next = 0
        self._most = min(_MOST, 4 * num_cores())
        self._running: dict[str, tuple[Future[_T], _Notes]] = {}
        self._pool: ThreadPoolExecutor | None = None
        if len(self._paths) > 1:
            self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="vtnstream-ahead")

    @property
    def is_used(self) -> bool:
        """Whether several videos may be processed at the same time."""
        return self._pool is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for future, notes in self._running.values():
            notes.is_stopped = True
            future.cancel()
        if self._pool is not None:
            self._pool.shutdown()

    def result(self, path: str, progress: Progress) -> _T:
        """Return the result of the next input, and show its progress and warnings.

        Raises:
            Exception: of the function.
        """
        self._start_small()
        if path not in self._running:
            self._next += 1
            return self._function(path, progress)
        future, notes = self._running.pop(path)
        try:
            while not future.done():
                notes.show(progress)
                wait([future], _POLL_SECONDS)
            return future.result()
        finally:
            notes.is_stopped = True  # if it is not done: an interrupt
            notes.close(progress)

    def _start_small(self) -> None:
        """Start videos up to the next one that must be processed alone."""
        while self._pool is not None and len(self._running) < self._most:
            if self._next == len(self._paths) or not is_small(self._paths[self._next]):
                return
            path, notes = self._paths[self._next], _Notes()
            self._running[path] = self._pool.submit(self._function, path, notes), notes
            self._next += 1


class _Notes:
    """Keeps what a thread reports until it is shown, and ends the work if nobody wants it.

    Attributes:
        is_stopped: the next report raises KeyboardInterrupt in the thread.
    """

    def __init__(self) -> None:
        self.is_stopped = False
        self._warnings: list[str] = []
        self._task: tuple[str, float | None, str] | None = None
        self._done: tuple[float, str] | None = None
        self._shown: tuple[str, float | None, str] | None = None

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        self._check()
        self._task, self._done = (what, total, unit), None

    def advance(self, done: float, *, note: str = "") -> None:
        self._check()
        self._done = done, note

    def finish(self) -> None:
        pass

    def warn(self, message: str) -> None:
        self._warnings.append(message)

    def show(self, progress: Progress) -> None:
        """Show what was reported since the last call."""
        while self._warnings:
            progress.warn(self._warnings.pop(0))
        task, done = self._task, self._done
        if task is not None and task != self._shown:
            if self._shown is not None:
                progress.finish()
            what, total, unit = self._shown = task
            progress.start(what, total=total, unit=unit)
        if done is not None:
            progress.advance(done[0], note=done[1])

    def close(self, progress: Progress) -> None:
        """Show the rest, and end the display."""
        self.show(progress)
        if self._shown is not None:
            progress.finish()

    def _check(self) -> None:
        if self.is_stopped:
            raise KeyboardInterrupt
