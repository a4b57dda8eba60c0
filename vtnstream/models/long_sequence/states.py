"""Storage for the states of all tokens as a tensor."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from vtnstream.models.long_sequence.state_file import STATES_IN_MEMORY, mapped_file, release


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
        if self._mapped is not None:
            release(self._mapped, start * self._row_bytes, stop * self._row_bytes)


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
        most: largest size in bytes to hold in memory; None is
            :data:`~vtnstream.models.long_sequence.state_file.STATES_IN_MEMORY`.

    Raises:
        StoreError: there is no room on disk, or the folder cannot be written.
    """
    num_bytes = num_tokens * size * like.element_size()
    most = STATES_IN_MEMORY if most is None else most
    if like.device.type != "cpu" or num_bytes <= most:
        yield StateBuffer(like.new_empty(num_tokens, size))
        return
    with mapped_file(folder, num_bytes) as mapped:
        rows = torch.frombuffer(mapped, dtype=like.dtype).view(num_tokens, size)
        yield StateBuffer(rows, mapped)
