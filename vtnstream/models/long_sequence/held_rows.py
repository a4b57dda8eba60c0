"""Rows of tokens that come at one end and are forgotten at the other, in room that is reused."""

from __future__ import annotations

from torch import Tensor


class HeldRows:
    """Numbers of consecutive tokens, the oldest first. Memory is what was needed at most.

    Args:
        like: whose dtype and device they have.
        shape: of one token's numbers.

    Attributes:
        rows: (T, *shape), valid until the next call.
    """

    def __init__(self, like: Tensor, *shape: int) -> None:
        self._room = like.new_empty(0, *shape)
        self.rows = self._room

    def append(self, new: Tensor) -> None:
        """(T, *shape), copied."""
        count = len(self.rows)
        stop = count + len(new)
        if stop > len(self._room):
            room = self._room.new_empty(stop, *self._room.shape[1:])
            room[:count] = self.rows
            self._room = room
        self._room[count:stop] = new
        self.rows = self._room[:stop]

    def forget(self, count: int) -> None:
        """The oldest ``count`` rows: the others move to the front."""
        left = len(self.rows) - count
        if count:
            shift(self._room, by=count, count=left)
        self.rows = self._room[:left]


def shift(held: Tensor, *, by: int, count: int) -> None:
    """Move rows ``by`` ... ``by + count`` to the front, in steps that do not overlap."""
    for first in range(0, count, by):
        last = min(first + by, count)
        held[first:last] = held[first + by : last + by]
