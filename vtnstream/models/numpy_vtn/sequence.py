"""The temporal encoder in numpy over one long sequence, layer by layer, in place.

Memory holds the states (N, D) once, in a file if they are large, and the numbers of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from vtnstream.models.long_sequence.state_file import Rows, state_rows
from vtnstream.models.numpy_vtn.functions import LayerNorm, Weights
from vtnstream.models.numpy_vtn.longformer import NORM_EPSILON, QUERIES, Layer, rotation
from vtnstream.types import FloatArray, IndexArray

_BLOCK = 1024
"""Tokens of a block; a multiple of :data:`~vtnstream.models.numpy_vtn.longformer.QUERIES`."""
_FEED_FORWARD_ROWS = 256
"""Tokens that pass the feed-forward network at once: its inner layer stays in the cache."""

Emit = Callable[[int, FloatArray], None]
"""Called with the index of the first token and the new states (T, D) of a block."""


class Encoder:
    """The layers of a temporal encoder. Several threads may use it at once.

    Args:
        weights: of the model.
        num_heads: H of each layer.
        windows: attention window of each layer.
    """

    def __init__(self, weights: Weights, num_heads: int, windows: Sequence[int]) -> None:
        prefix = "temporal_encoder"
        self._types = weights[f"{prefix}.embeddings.token_type_embeddings.weight"]
        self._norm = LayerNorm.of(weights, f"{prefix}.embeddings.LayerNorm", NORM_EPSILON)
        self._cls = weights["cls_token"][0]
        self.layers = [
            Layer(weights, f"{prefix}.encoder.layer.{number}", num_heads, window)
            for number, window in enumerate(windows)
        ]
        self.size = self._types.shape[1]

    def embed(self, tokens: FloatArray) -> FloatArray:
        """Add the type of a token to (T, D) and normalise, in place."""
        tokens += self._types[0]
        return self._norm(tokens)

    def embedded_cls(self) -> FloatArray:
        """Return [CLS] (1, D) as it enters the first layer."""
        return self._norm(self._cls + self._types[1])


class SequencePass:
    """One pass over one sequence.

    Args:
        encoder: the layers.
        places: (N,) grid positions.
        watched: layers whose attention weights of [CLS] are kept.

    Attributes:
        cls: (1, D); after the last layer once :meth:`run` returned.
        rows: attention weights (H, N) of each watched layer, in order.
    """

    def __init__(self, encoder: Encoder, places: IndexArray, watched: Collection[int] = ()) -> None:
        self._encoder, self._places, self._watched = encoder, places, watched
        self._count = len(places)
        self.cls = encoder.embedded_cls()
        self.rows: list[FloatArray] = []

    def run(
        self, tokens: Iterable[FloatArray], emit: Emit | None, scratch: Path | None = None
    ) -> None:
        """Run all layers.

        Args:
            tokens: consecutive blocks (T, D) of embedded tokens.
            emit: receives the tokens after the last layer; None encodes [CLS] alone.
            scratch: folder for states that do not fit in memory.

        Raises:
            StoreError: there is no room for the states on disk.
        """
        last = len(self._encoder.layers) - 1
        with state_rows(self._count, self._encoder.size, scratch) as rows:
            start = 0
            for block in tokens:
                rows.values[start : start + len(block)] = block
                rows.release(start, start + len(block))
                start += len(block)

            def store(start: int, block: FloatArray) -> None:
                rows.values[start : start + len(block)] = block

            for number, layer in enumerate(self._encoder.layers):
                self._advance(number, layer, rows, emit if number == last else store)

    def _advance(self, number: int, layer: Layer, rows: Rows, emit: Emit | None) -> None:
        """Run one layer over all tokens and [CLS]. Keys and values are computed ahead of a block
        and kept behind it, so that every state is read before it is overwritten."""
        keeps = number in self._watched
        running = layer.begin_cls(self.cls, keeps_scores=keeps)
        token = layer.global_token(self.cls)
        around = _KeyValueWindow(layer, rows.values, self._places)
        for start in range(0, self._count, _BLOCK):
            stop = min(start + _BLOCK, self._count)
            block = rows.values[start:stop]
            running.update(block)
            if emit is not None:
                near, known = around.move(start, stop)
                angles = rotation(self._places[start:stop], layer.head_size)
                mixed = layer.attend(block, near, token, angles, known)
                for part in range(0, len(mixed), _FEED_FORWARD_ROWS):
                    made = layer.feed_forward(mixed[part : part + _FEED_FORWARD_ROWS])
                    emit(start + part, made)
            rows.release(start, stop)
        if keeps:
            self.rows.append(running.weights()[:, 1:])
        self.cls = layer.end_cls(running, self.cls)


class _KeyValueWindow:
    """Keys and values of the current block and of the tokens within reach of it. Each is computed
    once, before its state can be overwritten."""

    def __init__(self, layer: Layer, states: FloatArray, places: IndexArray) -> None:
        self._layer, self._states, self._places = layer, states, places
        self._count = len(places)
        size = -(-min(_BLOCK, self._count) // QUERIES) * QUERIES
        shape = (size + 2 * layer.reach, 2, layer.num_heads, layer.head_size)
        self._held = np.zeros(shape, np.float32)
        self._first = -layer.reach  # token of the first row
        self._made = 0  # keys are known up to this token

    def move(self, start: int, stop: int) -> tuple[FloatArray, tuple[int, int]]:
        """Move to the block of tokens ``start`` to ``stop``.

        Returns:
            keys and values from ``reach`` tokens before the block on, and which of their rows
            belong to the sequence.
        """
        reach = self._layer.reach
        drop = start - reach - self._first
        kept = self._made - (start - reach)
        if drop > 0 and kept > 0:
            self._held[:kept] = self._held[drop : drop + kept].copy()
        self._first = start - reach
        ahead = min(stop + reach, self._count)
        if ahead > self._made:
            part = slice(self._made, ahead)
            angles = rotation(self._places[part], self._layer.head_size)
            made = self._layer.keys_values(self._states[part], angles)
            self._held[self._made - self._first : ahead - self._first] = made
            self._made = ahead
        return self._held, (max(-self._first, 0), min(self._made, self._count) - self._first)
