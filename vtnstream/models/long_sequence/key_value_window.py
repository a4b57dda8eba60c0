"""Keys and values around a block of tokens that moves over a sequence."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from vtnstream.models.layers.attention import KeyValue, LongformerSelfAttention
from vtnstream.models.layers.positions import Rotation
from vtnstream.models.long_sequence.held_rows import shift

Read = Callable[[int, int], tuple[Tensor, Rotation | None]]
"""States (1, T, D) of tokens ``start`` to ``stop`` and their rotation."""


class KeyValueWindow:
    """Holds what the queries of one block may see: the block and ``reach`` tokens to each
    side. Each key is made once, before the state it is made from may be overwritten.

    Args:
        attention: of the layer.
        count: tokens of the whole sequence.
        size: tokens of a block, at most.
        read: gives states that were not asked for before.
    """

    def __init__(
        self, attention: LongformerSelfAttention, count: int, size: int, read: Read
    ) -> None:
        self.attention = attention
        self.count = count
        self.reach = min(attention.reach(count), count)
        self.read = read
        like = attention.query.weight
        rows = min(size + 2 * self.reach, count)
        shape = (1, rows, attention.num_heads, attention.head_dim)
        self._held = KeyValue(like.new_empty(shape), like.new_empty(shape))
        self._first = self._made = 0  # keys at hand are those of these tokens

    def move(self, start: int, stop: int) -> tuple[KeyValue, int]:
        """Keys and values around tokens ``start`` to ``stop``, and the place of the first of
        these among them. Blocks must follow one another."""
        ahead = min(stop + self.reach, self.count)
        keep = max(start - self.reach, 0)
        kept = self._made - keep
        if keep > self._first and kept > 0:
            for held in self._held:
                shift(held[0], by=keep - self._first, count=kept)
        self._first = keep
        if ahead > self._made:
            new = self.attention.keys_values(*self.read(self._made, ahead))
            for held, made in zip(self._held, new, strict=True):
                held[:, kept : kept + made.shape[1]] = made
            self._made = ahead
        end = self._made - keep
        return KeyValue(self._held.key[:, :end], self._held.value[:, :end]), start - keep
