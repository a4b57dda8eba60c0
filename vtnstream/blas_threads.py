"""Limit the threads of numpy's matrix products. The only module that imports threadpoolctl."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_users = 0
_limit: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Compute each matrix product of numpy in the thread that calls it, so that its result does
    not depend on the number of cores and threads that call at once do not wait for each other.

    The number belongs to the whole process: it is restored when the last of several users that
    overlap is done.
    """
    global _users, _limit
    keep_one_blas_thread()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _limit.__exit__(None, None, None)
                _limit = None


def keep_one_blas_thread() -> None:
    """The same until the process ends."""
    global _users, _limit
    with _lock:
        if not _users:
            _limit = ThreadpoolController().limit(limits=1, user_api="blas")
            _limit.__enter__()
        _users += 1
