"""Storage for the states of all tokens: in memory, or in a file if they are too large for it."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from vtnstream.errors import StoreError
from vtnstream.types import FloatArray

STATES_IN_MEMORY = 2 * 2**30
"""Largest states in bytes that are held in memory (700,000 tokens of 768 float32 numbers, four days
at 2 frames/s). Larger ones are in a memory-mapped file."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Storage for (N, size) numbers.

    Attributes:
        values: (N, size) float32, undefined at first.
        mapped: the file, or None in memory.
    """

    values: FloatArray
    mapped: mmap.mmap | None = None

    def release(self, start: int, stop: int) -> None:
        """Release rows ``start`` to ``stop`` from memory; they keep their numbers."""
        if self.mapped is not None:
            release(self.mapped, start * self.values.strides[0], stop * self.values.strides[0])


@contextmanager
def state_rows(
    num_tokens: int, size: int, folder: Path | None, most: int | None = None
) -> Iterator[Rows]:
    """Provide storage for (N, size) float32 numbers, valid while the context is open.

    Args:
        num_tokens: N.
        size: numbers per token.
        folder: where the file is created; None is the system's folder for temporary files.
        most: largest size in bytes to hold in memory; None is :data:`STATES_IN_MEMORY`.

    Raises:
        StoreError: there is no room on disk, or the folder cannot be written.
    """
    num_bytes = 4 * num_tokens * size
    if num_bytes <= (STATES_IN_MEMORY if most is None else most):
        yield Rows(np.empty((num_tokens, size), np.float32))
        return
    with mapped_file(folder, num_bytes) as mapped:
        yield Rows(np.frombuffer(mapped, np.float32).reshape(num_tokens, size), mapped)


def release(mapped: mmap.mmap, first: int, stop: int) -> None:
    """Release bytes ``first`` to ``stop`` of a mapped file from the process's memory, so that it
    does not grow with the file; the system writes them when it chooses."""
    if not hasattr(mmap, "MADV_DONTNEED"):
        return
    # Of a shared mapping of a file; anonymous memory would be lost.
    begin, end = (n // mmap.PAGESIZE * mmap.PAGESIZE for n in (first, stop))
    if end > begin:
        mapped.madvise(mmap.MADV_DONTNEED, begin, end - begin)


@contextmanager
def mapped_file(folder: Path | None, num_bytes: int) -> Iterator[mmap.mmap]:
    """Map a temporary file of this size. Where the system allows it, the file has no name and
    disappears however the process ends.

    Raises:
        StoreError: there is no room on disk, or the folder cannot be written.
    """
    with _file(folder, num_bytes) as file:
        # Closed when the last array that uses it is freed, possibly after the file.
        yield mmap.mmap(file.fileno(), num_bytes)


@contextmanager
def _file(folder: Path | None, num_bytes: int) -> Iterator[IO[bytes]]:
    """Create a temporary file of this size with its blocks allocated.

    Without allocation, a full disk would kill the process when a page is written.
    """
    place = folder or Path(tempfile.gettempdir())
    try:
        place.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=place, prefix="states-")  # noqa: SIM115
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, num_bytes)
            else:
                file.truncate(num_bytes)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise StoreError(
            f"{place}: no room for {num_bytes / 1e9:.1f} GB of the temporal encoder's states "
            f"({error.strerror or error}); --cache-dir names another place"
        ) from error
    with file:
        yield file
