"""Files that are either whole or absent: written beside their place, synced, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes its name only when the context is left without an error,
    and is on the disk by then. On any error nothing is left behind.

    Raises:
        OSError: it cannot be written; the caller names the file and the way out.
    """
    # A short name of its own: the target's may be as long as names can be.
    temporary = path.with_name(f".vtnstream-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def remove_unfinished(directory: Path) -> None:
    """Remove what killed writers left in a directory where nobody else is writing."""
    for path in directory.glob(".vtnstream-*.tmp"):
        path.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make renames in a directory survive a power cut (POSIX only; elsewhere directories do
    not open)."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
