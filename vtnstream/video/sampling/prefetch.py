"""Work ahead in a thread, but never far: the decoder waits behind a bounded queue."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_POLL_SECONDS = 0.1


class _Failed:
    """An exception on its way to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


class Ahead(Generic[T]):
    """An iterable that from now on runs in a thread of its own, at most ``depth`` items ahead.

    Args:
        iterable: consumed in the thread; its iterator's ``close`` is called there.
        depth: items that may wait in the queue (one more is in the thread's hands).
    """

    def __init__(self, iterable: Iterable[T], depth: int) -> None:
        self._iterable = iterable
        self._items: queue.Queue[T | _Failed | object] = queue.Queue(maxsize=max(1, depth))
        self._stop = threading.Event()
        self._worker = threading.Thread(
            target=_work,
            args=(iterable, self._items, self._stop),
            name="vtnstream-prefetch",
            daemon=True,
        )
        self._worker.start()

    def __iter__(self) -> Iterator[T]:
        """The items in order; exceptions of the iterable are raised here."""
        return _received(self._items)

    @property
    def is_working(self) -> bool:
        """The iterable has not come to its end."""
        return self._worker.is_alive()

    def close(self) -> None:
        """Stop: the iterable's ``cancel`` method is called if it has one, it is closed in its
        own thread, and the thread is joined."""
        self._stop.set()
        cancel = getattr(self._iterable, "cancel", None)
        if cancel is not None:
            cancel()
        self._worker.join()


def prefetch(iterable: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """Run ``iterable`` in a thread of its own, at most ``depth`` items ahead.

    Exceptions of the iterable are raised here. When the consumer leaves early (``close``,
    an exception, Ctrl-C), it is stopped as :meth:`Ahead.close` does.

    Args:
        iterable: consumed in the thread; its iterator's ``close`` is called there.
        depth: items that may wait in the queue (one more is in the thread's hands).
    """
    ahead = Ahead(iterable, depth)
    try:
        yield from ahead
    finally:
        ahead.close()


def _received(
    items: queue.Queue[T | _Failed | object],
) -> Iterator[T]:
    while True:
        try:
            # A timeout keeps Ctrl-C prompt on every platform.
            item = items.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
        if item is _END:
            return
        if isinstance(item, _Failed):
            raise item.error
        yield item  # type: ignore[misc]


def _work(
    iterable: Iterable[T], items: queue.Queue[T | _Failed | object], stop: threading.Event
) -> None:
    iterator = iter(iterable)
    try:
        for item in iterator:
            if not _put(items, item, stop):
                return
            del item  # the queue holds it now; this thread must not
        last: object = _END
    except BaseException as error:
        last = _Failed(error)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    _put(items, last, stop)


def _put(items: queue.Queue[T | _Failed | object], item: object, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            items.put(item, timeout=_POLL_SECONDS)
        except queue.Full:
            continue
        return True
    return False
