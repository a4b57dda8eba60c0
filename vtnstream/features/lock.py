"""File locks of feature stores: one writer or many readers. The operating system releases the lock
of a process that dies, so that locks cannot become stale."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from vtnstream.errors import StoreError

_POLL_SECONDS = 0.2


class StoreLock:
    """An advisory lock on one file, exclusive for writers, shared for readers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def try_acquire(self, *, exclusive: bool) -> bool:
        """Take or convert the lock without waiting.

        Returns:
            False if another process holds a conflicting lock.

        Raises:
            StoreError: the lock file cannot be created or locked.
        """
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open(self.path, "ab+")  # noqa: SIM115 - held until release()
            if lock_file(self._file, exclusive=exclusive):
                return True
        except OSError as error:
            self.release()
            raise StoreError(
                f"{self.path.parent}: the feature store cannot be locked "
                f"({error.strerror or error}): choose another directory with --cache-dir"
            ) from error
        return False

    def acquire(self, *, exclusive: bool, on_wait: Callable[[], None] | None = None) -> None:
        """Take the lock, waiting without limit; ``on_wait`` is called once if it must wait."""
        while not self.try_acquire(exclusive=exclusive):
            if on_wait is not None:
                on_wait()
                on_wait = None
            time.sleep(_POLL_SECONDS)

    def still_exists(self) -> bool:
        """Return whether the locked file still exists; it does not if the store was pruned."""
        if self._file is None:
            return False
        try:
            return os.stat(self.path).st_ino == os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


if sys.platform == "win32":
    import msvcrt

    def lock_file(file: BinaryIO, *, exclusive: bool) -> bool:
        # msvcrt has no shared locks: readers take no lock, writers exclude each other.
        if not exclusive:
            return True
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def lock_file(file: BinaryIO, *, exclusive: bool) -> bool:
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(file.fileno(), kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
