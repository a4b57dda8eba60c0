"""Atomic file writes: write a temporary file in the same folder, sync it, rename it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(
    path: Path,
    before_rename: Callable[[Path], None] | None = None,
    *,
    durable: bool = True,
) -> Iterator[BinaryIO]:
    """Open a temporary file for writing. It is synced and renamed to ``path`` when the context
    ends without an error, and removed otherwise.

    Args:
        path: the file to write.
        before_rename: called with the complete temporary file.
        durable: sync file and folder. Without it a power failure may leave an empty or damaged
            file, which the reader must recognise.

    Raises:
        OSError: the file cannot be written; the caller adds the file name and the remedy.
    """
    # The temporary name is short, because the target's name may have the maximum length.
    temporary = path.with_name(f".vtnstream-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if before_rename is not None:
            before_rename(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def remove_unfinished(directory: Path) -> None:
    """Remove temporary files that killed processes left; nothing else may write there."""
    for path in directory.glob(".vtnstream-*.tmp"):
        path.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Sync the content of a file to the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def sync_directory(directory: Path) -> None:
    """Sync a directory, so that renames in it survive a power failure (POSIX only; other systems
    cannot open directories)."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
