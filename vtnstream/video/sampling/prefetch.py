"""Run an iterable in a thread, ahead of its consumer by a bounded number of items."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")

_POLL_SECONDS = 0.1


class _Failed:
    """An exception to raise in the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


class Prefetcher(Generic[_T]):
    """Runs an iterable in its own thread, at most ``depth`` items ahead.

    Args:
        iterable: consumed in the thread; its iterator's ``close`` is called there.
        depth: largest number of items in the queue (the thread holds one more).
    """

    def __init__(self, iterable: Iterable[_T], depth: int) -> None:
        self._iterable = iterable
        self._items: queue.Queue[_T | _Failed | object] = queue.Queue(maxsize=max(1, depth))
        self._stop = threading.Event()
        self._worker = threading.Thread(
            target=_work,
            args=(iterable, self._items, self._stop),
            name="vtnstream-prefetch",
            daemon=True,
        )
        self._worker.start()

    def __iter__(self) -> Iterator[_T]:
        """Yield the items in order; exceptions of the iterable are raised here."""
        return _received(self._items)

    @property
    def is_working(self) -> bool:
        """Whether the iterable has not ended yet."""
        return self._worker.is_alive()

    def close(self) -> None:
        """Stop the thread: call the iterable's ``cancel`` method if it has one, close it in its
        thread, and join the thread."""
        self._stop.set()
        cancel = getattr(self._iterable, "cancel", None)
        if cancel is not None:
            cancel()
        self._worker.join()


def prefetch(iterable: Iterable[_T], depth: int = 2) -> Generator[_T, None, None]:
    """Run ``iterable`` in its own thread, at most ``depth`` items ahead.

    Exceptions of the iterable are raised here. If the consumer stops early (``close``, an
    exception, Ctrl-C), :meth:`Prefetcher.close` is called.

    Args:
        iterable: consumed in the thread; its iterator's ``close`` is called there.
        depth: largest number of items in the queue (the thread holds one more).
    """
    ahead = Prefetcher(iterable, depth)
    try:
        yield from ahead
    finally:
        ahead.close()


def _received(
    items: queue.Queue[_T | _Failed | object],
) -> Iterator[_T]:
    while True:
        try:
            # With a timeout, Ctrl-C works promptly on all platforms.
            item = items.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if item is _END:
            return
        if isinstance(item, _Failed):
            raise item.error
        yield item  # type: ignore[misc]


def _work(
    iterable: Iterable[_T], items: queue.Queue[_T | _Failed | object], stop: threading.Event
) -> None:
    iterator = iter(iterable)
    try:
        for item in iterator:
            if not _put(items, item, stop):
                return
            del item  # this thread must not keep the item alive
        last: object = _END
    except BaseException as error:
        last = _Failed(error)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    _put(items, last, stop)


def _put(items: queue.Queue[_T | _Failed | object], item: object, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            items.put(item, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False
