"""Files that are either whole or absent: written beside their place, synced, then renamed."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from vtnstream.errors import StoreError

TEMPORARY_SUFFIX = ".tmp"


def publish(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically and durably.

    Raises:
        StoreError: no space, no permission or an I/O error; nothing is left half-written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_directory(path.parent)
    except OSError as error:
        raise StoreError(
            f"{path}: features cannot be stored ({error.strerror or error}): "
            "free space there or choose another place with --cache-dir"
        ) from error


def _sync_directory(directory: Path) -> None:
    """Make a rename survive a power cut (POSIX only; elsewhere directories do not open)."""
    if os.name != "posix":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
