"""Storage for the states of all tokens: in memory, or in a file if they are too large for it."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from vtnstream.errors import StoreError

STATES_IN_MEMORY = 2 * 2**30
"""Largest states in bytes that are held in memory (700,000 tokens of 768 float32 numbers, four days
at 2 frames/s). Larger ones are in a memory-mapped file."""


class StateBuffer:
    """Storage for (N, size) numbers.

    Attributes:
        rows: (N, size), uninitialised at first.
    """

    def __init__(self, rows: Tensor, mapped: mmap.mmap | None = None) -> None:
        self.rows = rows
        self._mapped = mapped
        self._row_bytes = rows.shape[1] * rows.element_size()

    def release(self, start: int, stop: int) -> None:
        """Release rows ``start`` to ``stop`` from memory; they keep their numbers.

        Rows of a file leave the process's memory, so that it does not grow with N, and the system
        writes them when it chooses. Rows in memory stay.
        """
        if self._mapped is None or not hasattr(mmap, "MADV_DONTNEED"):
            return
        # Of a shared mapping of a file; anonymous memory would be lost.
        first, last = (n * self._row_bytes // mmap.PAGESIZE * mmap.PAGESIZE for n in (start, stop))
        if last > first:
            self._mapped.madvise(mmap.MADV_DONTNEED, first, last - first)


@contextmanager
def state_buffer(
    like: Tensor, num_tokens: int, size: int, folder: Path | None, most: int | None = None
) -> Iterator[StateBuffer]:
    """Provide storage for (N, size) numbers, valid while the context is open.

    Args:
        like: a tensor of the dtype and device to use; only CPU states go to a file.
        num_tokens: N.
        size: numbers per token.
        folder: where the file is created; None is the system's folder for temporary files. Where
            the system allows it, the file has no name and disappears however the process ends.
        most: largest size in bytes to hold in memory; None is :data:`STATES_IN_MEMORY`.

    Raises:
        StoreError: there is no room on disk, or the folder cannot be written.
    """
    num_bytes = num_tokens * size * like.element_size()
    most = STATES_IN_MEMORY if most is None else most
    if like.device.type != "cpu" or num_bytes <= most:
        yield StateBuffer(like.new_empty(num_tokens, size))
        return
    with _file(folder, num_bytes) as file:
        # Closed when the last tensor that uses it is freed, possibly after the file.
        mapped = mmap.mmap(file.fileno(), num_bytes)
        rows = torch.frombuffer(mapped, dtype=like.dtype).view(num_tokens, size)
        yield StateBuffer(rows, mapped)


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
