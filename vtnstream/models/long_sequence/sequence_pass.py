"""The Longformer over one long sequence, layer by layer, in place.

Memory holds one buffer of N x D states and, for the current block of tokens, its queries, the keys
and values around it, and the running softmax of [CLS].
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from vtnstream.models.layers.attention import GlobalSoftmax, KeyValue, LongformerSelfAttention
from vtnstream.models.layers.positions import Rotation
from vtnstream.models.long_sequence.held_rows import shift
from vtnstream.models.long_sequence.states import StateBuffer, state_buffer
from vtnstream.models.vtn.longformer_layer import LongformerLayer
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.temporal import TemporalEncoder
from vtnstream.types import FloatArray, IndexArray

_FEED_FORWARD_NUMBERS = 2**20
"""Numbers of the feed-forward network's inner layer held at once (4 MB). The inner layer may be
much wider than the states and would then be the largest tensor in memory."""

Emit = Callable[[int, Tensor], None]
"""Called with the index of the first token and the new states (T, Dh) of a block."""


def feed_forward_numbers(hidden_size: int, block: int) -> int:
    """Return how many numbers of the inner layer are held at once beside states of ``block``
    tokens."""
    return max(_FEED_FORWARD_NUMBERS, 4 * hidden_size * block)


class FirstLayerObserver(Protocol):
    """Receives the tokens of the first layer from :class:`SequencePass`.

    :class:`~vtnstream.models.long_sequence.shared_windows.SharedWindows` implements it.
    """

    def take_inputs(self, states: Tensor, around: KeyValue) -> None:
        """Receive the next inputs of the layer.

        Args:
            states: (1, T, D); overwritten after the call.
            around: their keys and values, each (1, T, H, Dh); overwritten after the call.
        """

    def take_outputs(self, states: Tensor) -> None:
        """Receive the next outputs (T, D) of the layer; the blocks differ in size from the
        inputs'."""


class SequencePass:
    """One pass over one sequence.

    Args:
        model: in evaluation mode.
        encoder: its temporal encoder.
        tokens: consecutive embedded blocks (T, Dh).
        places: (N,) grid positions.
        size: tokens per block.
        watched: layers whose attention weights of [CLS] are kept.
        windows: receives the inputs and outputs of the first layer.

    Attributes:
        cls: (1, G, Dh) the global tokens; those after the last layer once :meth:`run` returned.
        rows: attention weights (H, N) of each watched layer, in order.
    """

    def __init__(
        self,
        model: VTN,
        encoder: TemporalEncoder,
        tokens: Iterable[Tensor],
        places: IndexArray,
        size: int,
        watched: Collection[int] = (),
        windows: FirstLayerObserver | None = None,
    ) -> None:
        self.model = model
        self.tokens = tokens
        self.places = places
        self.size = size
        self.count = len(places)
        self.encoder = encoder
        self.cls = self.encoder.embed_cls(model.all_global_tokens())  # (1, G, Dh)
        layers = self.encoder.layers
        self.cls_layers = dict(zip(map(id, layers), self.encoder.cls_layers, strict=True))
        self.watched = {id(layers[number]) for number in watched}
        self.windows = windows
        self.rows: list[FloatArray] = []

    def run(self, wants_tokens: bool, scratch: Path | None) -> FloatArray | None:
        """Run all layers and set :attr:`cls`.

        Args:
            wants_tokens: whether to run the dense head.
            scratch: folder for states that do not fit in memory.

        Returns:
            dense logits (N, Kd), or None without ``wants_tokens``.

        Raises:
            StoreError: there is no room for the states on disk.
        """
        *layers, last = self.encoder.layers
        if not layers and not wants_tokens:
            self.cls = self.attend_cls(last, self.embed())
            return None
        size = self.encoder.hidden_size
        like = self.encoder.embeddings.LayerNorm.weight
        with state_buffer(like, self.count, size, scratch) as buffer:

            def store(start: int, block: Tensor) -> None:
                buffer.rows[start : start + len(block)] = block

            for start, block in self.embed():
                store(start, block[0])
                buffer.release(start, start + block.shape[1])
            for layer in layers:
                self.advance(layer, buffer, store)
            if wants_tokens:
                return self.dense(last, buffer)
            self.cls = self.attend_cls(last, self.blocks(buffer))
            return None

    def embed(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the embedded tokens block by block: (index of the first, (1, T, Dh))."""
        start = 0
        for block in self.tokens:
            stop = start + len(block)
            yield start, self.encoder.embeddings(block[None], self.indices(start, stop))
            start = stop

    def indices(self, start: int, stop: int) -> Tensor:
        """Return the grid positions (1, T) of tokens ``start`` to ``stop``."""
        part = torch.tensor(self.places[start:stop], device=self.model.cls_token.device)
        return part[None]

    def blocks(self, buffer: StateBuffer) -> Iterator[tuple[int, Tensor]]:
        """Yield the states of the buffer block by block: (index of the first, (1, T, Dh))."""
        for start in range(0, self.count, self.size):
            stop = min(start + self.size, self.count)
            yield start, buffer.rows[None, start:stop]
            buffer.release(start, stop)

    def attend_cls(self, layer: LongformerLayer, states: Iterator[tuple[int, Tensor]]) -> Tensor:
        """Run one layer for the global tokens only; return them after it: (1, G, Dh)."""
        running = self.begin_cls(layer)
        for _, block in states:
            _update(layer, running, block)
        return self.end_cls(layer, running)

    def dense(self, layer: LongformerLayer, buffer: StateBuffer) -> FloatArray:
        """Run the last layer and the dense head; return logits (N, Kd)."""
        head = self.model.dense_head
        assert head is not None
        logits = np.empty((self.count, head.out_features), np.float32)

        def classify(start: int, block: Tensor) -> None:
            made = self.model.token_logits(block)
            logits[start : start + len(block)] = made.float().cpu().numpy()

        self.advance(layer, buffer, classify)
        return logits

    def advance(self, layer: LongformerLayer, buffer: StateBuffer, emit: Emit) -> None:
        """Run one layer over all tokens and [CLS].

        Keys and values are computed ahead of the block and kept behind it, so every state is read
        before its block overwrites it.

        Args:
            layer: one of the encoder's.
            buffer: the states before the layer; each block may be overwritten once ``emit`` has
                its new states.
            emit: receives the new states.
        """
        running = self.begin_cls(layer)
        windows = self.windows if layer is self.encoder.layers[0] else None

        def read(first: int, last: int) -> tuple[Tensor, Rotation | None]:
            return buffer.rows[None, first:last], self.encoder.rotation(self.indices(first, last))

        around = _KeyValueWindow(layer.attention.self, self.count, self.size, read)
        most = feed_forward_numbers(self.encoder.hidden_size, self.size)
        rows = max(most // layer.intermediate.dense.out_features, 16)
        for start in range(0, self.count, self.size):
            stop = min(start + self.size, self.count)
            block = buffer.rows[None, start:stop]  # (1, T, Dh)
            _update(layer, running, block)
            near, offset = around.move(start, stop)
            if windows is not None:
                own = slice(offset, offset + stop - start)
                windows.take_inputs(block, KeyValue(*(each[:, own] for each in near)))
            mixed = self.attend_block(layer, near, offset, start, block)  # (T, Dh)
            for part in range(0, len(mixed), rows):
                made = layer.feed_forward(mixed[part : part + rows])
                emit(start + part, made)
                if windows is not None:
                    windows.take_outputs(made)
            buffer.release(start, stop)
        self.cls = self.end_cls(layer, running)

    def begin_cls(self, layer: LongformerLayer) -> GlobalSoftmax:
        """Start the attention of [CLS] in a layer."""
        watched = id(layer) in self.watched
        attention = self.cls_layers[id(layer)].attention.self
        return attention.begin_global(self.cls, keep_weights=watched)

    def end_cls(self, layer: LongformerLayer, running: GlobalSoftmax) -> Tensor:
        """Finish the attention of [CLS] in a layer; return the new global tokens (1, G, Dh)."""
        if running.scores is not None:
            row = running.weights()[0, 0, :, self.cls.shape[1] :]  # (H, N)
            if not layer.attention.self.global_attention:
                row = row.new_zeros(len(row), self.count)
            self.rows.append(row.cpu().numpy())
        layer = self.cls_layers[id(layer)]
        return layer.finish(layer.attention.self.end_global(running), self.cls)

    def attend_block(
        self, layer: LongformerLayer, near: KeyValue, offset: int, start: int, block: Tensor
    ) -> Tensor:
        """Run the attention half of a layer for one block.

        Args:
            layer: one of the encoder's.
            near: keys and values around the block.
            offset: position of the block's first token in ``near``.
            start: index of the block's first token in the sequence.
            block: (1, T, Dh) states before the layer.

        Returns:
            (T, Dh).
        """
        stop = start + block.shape[1]
        angles = self.encoder.rotation(self.indices(start, stop))
        attended = layer.attention.self.local(block, near, self.cls, angles=angles, offset=offset)
        mixed: Tensor = layer.attention.output(attended, block)[0]
        return mixed


_Read = Callable[[int, int], tuple[Tensor, Rotation | None]]
"""States (1, T, D) of tokens ``start`` to ``stop``, and their rotary angles or None."""


class _KeyValueWindow:
    """Keys and values of the current block and of the tokens within reach of it.

    Each is computed once, before its state can be overwritten.

    Args:
        attention: of the layer.
        count: N, tokens of the sequence.
        size: most tokens of a block.
        read: returns states; each state is read once.
    """

    def __init__(
        self, attention: LongformerSelfAttention, count: int, size: int, read: _Read
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


def _update(layer: LongformerLayer, running: GlobalSoftmax, block: Tensor) -> None:
    if layer.attention.self.global_attention:
        running.update(block)
