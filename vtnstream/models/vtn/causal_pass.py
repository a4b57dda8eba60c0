"""The temporal encoder in causal mode (config ``temporal.causal``), block by block.

Token t attends to earlier tokens and, in every layer, to the [CLS] that has attended to tokens
up to t. A later token changes nothing before it. The pass over a whole sequence and the pass
over a stream both run this code, with blocks of different sizes, so their results are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from torch import Tensor

from vtnstream.models.layers.causal_attention import (
    LayerState,
    RunningSoftmax,
    attend_globally,
    attend_locally,
)
from vtnstream.models.layers.positions import Rotation
from vtnstream.models.vtn.longformer_layer import Embeddings, LongformerLayer


class CausalEncoder(Protocol):
    """The parts of a temporal encoder that a causal pass needs.

    :class:`~vtnstream.models.vtn.temporal.TemporalEncoder` has them. Because of this protocol
    the module does not import the encoder, which itself runs causal passes.
    """

    embeddings: Embeddings

    @property
    def layers(self) -> Sequence[LongformerLayer]:
        """The layers of the tokens, in order."""

    @property
    def cls_layers(self) -> Sequence[LongformerLayer]:
        """The layers of [CLS], in order; they may have another precision."""

    def embed_cls(self, cls: Tensor) -> Tensor:
        """Return the global tokens with their type embedding: (B, G, D) to (B, G, D)."""

    def rotation(self, indices: Tensor) -> Rotation | None:
        """Return the rotary angles of grid positions (B, T), or None."""


class CausalPass:
    """A sequence, or a batch of sequences, passing through an encoder from its first token.

    Args:
        encoder: with ``causal`` set.
        cls: (B, G, D) the global tokens, not yet embedded.
        watched: layers whose attention weights of [CLS] are kept.

    Attributes:
        cls: (B, G, D) the global tokens after the last layer, at the last step so far.
        states: one per layer; their size does not grow with the number of tokens.
    """

    def __init__(self, encoder: CausalEncoder, cls: Tensor, watched: Collection[int] = ()) -> None:
        self.encoder = encoder
        self._start = encoder.embed_cls(cls)  # (B, G, D)
        self.cls = self._start
        self.states = []
        batch, num_globals, _ = cls.shape
        count = len(encoder.layers)
        kept = {number % count for number in watched}
        for number, layer in enumerate(encoder.layers):
            attention = layer.attention.self
            shape = (batch, num_globals, attention.num_heads, attention.head_dim)
            running = RunningSoftmax.begin(cls, shape, number in kept)
            self.states.append(LayerState(running))

    def advance(
        self,
        tokens: Tensor,
        indices: Tensor,
        valid: Tensor | None = None,
        *,
        cls_only: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Encode the next tokens of the sequence.

        Args:
            tokens: (B, T, D), T at least 1.
            indices: (B, T) int64 grid positions.
            valid: (B, T) bool, False for padding. Padding is at the end, and allowed only if the
                whole sequence comes in one call.
            cls_only: skip the tokens of the last layer.

        Returns:
            the global tokens at each step (B, T, G, D), and the tokens (B, T, D), or None with
            ``cls_only``.
        """
        encoder = self.encoder
        angles = encoder.rotation(indices)
        tokens = encoder.embeddings(tokens, indices, valid)  # (B, T, D)
        cls = self._start[:, None].expand(-1, tokens.shape[1], -1, -1)  # (B, T, G, D)
        last = len(self.states) - 1
        layers = zip(encoder.layers, encoder.cls_layers, self.states, strict=True)
        for number, (layer, cls_layer, state) in enumerate(layers):
            after = _advance_cls(cls_layer, tokens, cls, state, valid)
            if number == last and cls_only:
                self.cls = after[:, -1]
                return after, None
            attended = attend_locally(
                layer.attention.self, tokens, cls, state, angles=angles, valid=valid
            )
            tokens = layer.finish(attended, tokens)
            cls = after
        self.cls = cls[:, -1]
        return cls, tokens


def _advance_cls(
    layer: LongformerLayer, tokens: Tensor, cls: Tensor, state: LayerState, valid: Tensor | None
) -> Tensor:
    """Run one layer for the global tokens at each step: return (B, T, G, D)."""
    attention = layer.attention.self
    seen = tokens.to(cls.dtype)
    return layer.finish(attend_globally(attention, seen, cls, state.running, valid), cls)
