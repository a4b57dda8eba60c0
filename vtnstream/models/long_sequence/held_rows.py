"""A queue of tensor rows: new rows are appended, old rows dropped, and the memory is reused."""

from __future__ import annotations

from torch import Tensor


class HeldRows:
    """Rows of consecutive tokens, the oldest first.

    The memory is that of the largest number of rows held at once.

    Args:
        like: a tensor of the dtype and device to use.
        shape: of the row of one token.

    Attributes:
        rows: (T, *shape), valid until the next call.
    """

    def __init__(self, like: Tensor, *shape: int) -> None:
        self._room = like.new_empty(0, *shape)
        self.rows = self._room

    def append(self, new: Tensor) -> None:
        """Append a copy of rows (T, *shape)."""
        count = len(self.rows)
        stop = count + len(new)
        if stop > len(self._room):
            room = self._room.new_empty(stop, *self._room.shape[1:])
            room[:count] = self.rows
            self._room = room
        self._room[count:stop] = new
        self.rows = self._room[:stop]

    def forget(self, count: int) -> None:
        """Drop the oldest ``count`` rows and move the others to the front."""
        left = len(self.rows) - count
        if count:
            shift(self._room, by=count, count=left)
        self.rows = self._room[:left]


def shift(held: Tensor, *, by: int, count: int) -> None:
    """Move ``count`` rows, from row ``by`` on, to the front, in steps that do not overlap."""
    for first in range(0, count, by):
        last = min(first + by, count)
        held[first:last] = held[first + by : last + by]
