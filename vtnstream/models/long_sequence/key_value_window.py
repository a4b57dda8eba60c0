"""Keys and values around the current block of tokens of a sequence."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from vtnstream.models.layers.attention import KeyValue, LongformerSelfAttention
from vtnstream.models.layers.positions import Rotation
from vtnstream.models.long_sequence.held_rows import shift

Read = Callable[[int, int], tuple[Tensor, Rotation | None]]
"""States (1, T, D) of tokens ``start`` to ``stop``, and their rotary angles or None."""


class KeyValueWindow:
    """Keys and values of the current block and of the tokens within reach of it.

    Each is computed once, before its state can be overwritten.

    Args:
        attention: of the layer.
        count: N, tokens of the sequence.
        size: most tokens of a block.
        read: returns states; each state is read once.
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
        self._first = self._made = 0  # keys are held from token _first to token _made

    def move(self, start: int, stop: int) -> tuple[KeyValue, int]:
        """Move to the next block, whose tokens are ``start`` to ``stop``.

        Returns:
            keys and values around the block, and the position of its first token in them.
        """
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
