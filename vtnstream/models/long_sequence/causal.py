"""The temporal encoder in causal mode (config ``temporal.causal``), for online use.

Token t sees tokens up to t, and in every layer the [CLS] that has seen tokens up to t. What a
later token says changes nothing before it, and a stream worked token by token is equal to the
pass over the whole: both are this one code, in blocks of different size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vtnstream.models.layers.causal_attention import (
    LayerState,
    RunningSoftmax,
    attend_globally,
    attend_locally,
)
from vtnstream.types import FloatArray, IndexArray

if TYPE_CHECKING:
    from vtnstream.models.vtn.model import VTN
    from vtnstream.models.vtn.temporal import LongformerLayer, TemporalEncoder


class CausalPass:
    """One sequence, or a batch of them, going through an encoder from its start.

    Args:
        encoder: with ``causal`` set.
        cls: (B, G, D) the global tokens, not yet embedded.
        watched: numbers of the layers whose [CLS] weights are kept.

    Attributes:
        cls: (B, G, D) the global tokens after the last layer, at the last moment seen.
        states: one a layer; their size does not grow with the tokens seen.
    """

    def __init__(
        self, encoder: TemporalEncoder, cls: Tensor, watched: Collection[int] = ()
    ) -> None:
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
        """The next tokens of the sequence.

        Args:
            tokens: (B, T, D), T at least 1.
            indices: (B, T) int64 grid positions.
            valid: (B, T) bool, True where a token is real; padding follows the last real one,
                and only whole sequences are padded.
            cls_only: leave the last layer's tokens out.

        Returns:
            the global tokens at each moment (B, T, G, D), and the tokens (B, T, D), or None
            with ``cls_only``.
        """
        encoder = self.encoder
        turn = encoder.rotation(indices)
        tokens = encoder.embeddings(tokens, indices, valid)  # (B, T, D)
        cls = self._start[:, None].expand(-1, tokens.shape[1], -1, -1)  # (B, T, G, D)
        last = len(self.states) - 1
        layers = zip(encoder.layers, encoder.cls_layers, self.states, strict=True)
        for number, (layer, of_cls, state) in enumerate(layers):
            after = _look(of_cls, tokens, cls, state, valid)
            if number == last and cls_only:
                self.cls = after[:, -1]
                return after, None
            attended = attend_locally(
                layer.attention.self, tokens, cls, state, turn=turn, valid=valid
            )
            tokens = layer.finish(attended, tokens)
            cls = after
        self.cls = cls[:, -1]
        return cls, tokens


def _look(
    layer: LongformerLayer, tokens: Tensor, cls: Tensor, state: LayerState, valid: Tensor | None
) -> Tensor:
    """[CLS] after one layer, at each moment: (B, T, G, D)."""
    attention = layer.attention.self
    seen = tokens.to(cls.dtype)
    return layer.finish(attend_globally(attention, seen, cls, state.running, valid), cls)


def encode_causally(
    model: VTN,
    encoder: TemporalEncoder,
    tokens: Iterable[Tensor],
    indices: IndexArray,
    *,
    dense: bool,
    attention: Collection[int] = (),
) -> tuple[FloatArray | None, FloatArray | None, FloatArray | None]:
    """A whole sequence in blocks; memory does not grow with it but for what is returned.

    Args:
        model: in evaluation mode.
        encoder: its temporal encoder.
        tokens: consecutive embedded blocks (T, Dh) of N tokens.
        indices: (N,) grid positions.
        dense: whether the dense head is wanted.
        attention: numbers of the layers whose [CLS] weights at the end are wanted.

    Returns:
        logits (K,) after the last token, dense logits (N, Kd), weights (layers, H, N); each
        None where there is no such head or it is not wanted.
    """
    running = CausalPass(encoder, model.all_global_tokens(), attention)
    parts: list[FloatArray] = []
    start = 0
    for block in tokens:
        stop = start + len(block)
        if not len(block):
            continue
        places = torch.tensor(indices[start:stop], device=block.device)[None]
        _, made = running.advance(block[None], places, cls_only=not dense)
        if made is not None:
            parts.append(model.token_logits(made[0]).float().cpu().numpy())
        start = stop
    logits = dense_logits = rows = None
    if model.mlp_head is not None:
        cls = running.cls if start else encoder.without_tokens(model.all_global_tokens())
        logits = model.class_logits(cls[:, 0])[0].float().cpu().numpy()  # (K,)
    if dense and model.dense_head is not None:
        empty = np.empty((0, model.dense_head.out_features), np.float32)
        dense_logits = np.concatenate(parts) if parts else empty
    if attention:
        watched = sorted({number % len(running.states) for number in attention})
        rows = np.stack([_row(running.states[number].running) for number in watched])
    return logits, dense_logits, rows


def _row(running: RunningSoftmax) -> FloatArray:
    """(H, N): what the last [CLS] gives to each token."""
    if not running.scores:
        return np.zeros((running.peak.shape[2], 0), np.float32)
    num_globals = running.peak.shape[1]
    row: FloatArray = running.weights()[0, 0, :, num_globals:].cpu().numpy()
    return row
