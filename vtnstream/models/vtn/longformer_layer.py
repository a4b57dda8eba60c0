"""The layers of the temporal encoder: embeddings of position and type, and the Longformer layer.

Post-norm layers as in BERT (paper section 3.2). Parameters have the names that ``transformers``
uses in its LongformerModel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtnstream.config import TemporalConfig
from vtnstream.errors import ModelError
from vtnstream.models.layers.attention import (
    LAYER_NORM_EPS,
    AttentionOutput,
    LongformerAttention,
    LongformerSelfAttention,
)
from vtnstream.models.layers.mlp import FeedForwardOutput, Intermediate
from vtnstream.models.layers.positions import (
    NUM_RESERVED,
    Rotation,
    sinusoidal,
    sinusoidal_table,
    table_rows,
)

FRAME_TYPE, CLS_TYPE = 0, 1
POSITION_STARTS = ("sinusoidal", "normal")


class Embeddings(nn.Module):
    """Tokens get their position and type, LayerNorm and dropout.

    [CLS] has type 1 and, under learned positions, a row of its own; under every other kind
    it has no position.
    """

    def __init__(self, config: TemporalConfig, hidden_size: int) -> None:
        super().__init__()
        self.positions = config.positions
        if config.positions == "learned":
            self.position_embeddings = nn.Embedding(config.max_positions, hidden_size)
        self.token_type_embeddings = nn.Embedding(2, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, tokens: Tensor, indices: Tensor, padding_mask: Tensor | None = None
    ) -> Tensor:
        """
        Args:
            tokens: (B, T, D).
            indices: (B, T) int64 grid positions.
            padding_mask: (B, T) bool, True where a token is real.

        Returns:
            (B, T, D).
        """
        if self.positions == "learned":
            rows = table_rows(indices, padding_mask, self.position_embeddings.num_embeddings)
            tokens = tokens + self.position_embeddings(rows)
        elif self.positions == "fixed":
            tokens = tokens + sinusoidal(indices, tokens.shape[-1]).to(tokens.dtype)
        return self._finish(tokens, FRAME_TYPE)

    def embed_cls(self, cls: Tensor) -> Tensor:
        """(B, G, D) -> (B, G, D)."""
        if self.positions == "learned":
            cls = cls + self.position_embeddings.weight[-NUM_RESERVED]
        return self._finish(cls, CLS_TYPE)

    def _finish(self, tokens: Tensor, kind: int) -> Tensor:
        typed = tokens + self.token_type_embeddings.weight[kind]
        result: Tensor = self.dropout(self.LayerNorm(typed))
        return result

    def reset_positions(self, start: str) -> None:
        """``sinusoidal``: amplitude 1, for features at unit scale; ``normal``: N(0, .02),
        the paper's recipe for fine-tuning from strong features."""
        if start not in POSITION_STARTS:
            raise ModelError(f"positions start {' or '.join(POSITION_STARTS)}, not {start!r}")
        if self.positions != "learned":
            return
        weight = self.position_embeddings.weight
        if weight.is_meta:  # about to be loaded; torch would fetch its compiler to divide by
            return
        nn.init.normal_(weight, std=0.02)
        if start == "sinusoidal":
            with torch.no_grad():
                weight[:-NUM_RESERVED] = sinusoidal_table(*weight.shape)[:-NUM_RESERVED]
        nn.init.zeros_(weight[-1])  # padding


class LongformerLayer(nn.Module):
    """One layer in two halves, tokens and [CLS], so that tokens can be worked in blocks."""

    def __init__(self, config: TemporalConfig, hidden_size: int, number: int) -> None:
        super().__init__()
        self.attention = LongformerAttention(
            LongformerSelfAttention(
                hidden_size,
                config.num_heads,
                config.attention_windows[number] if config.kind == "longformer" else None,
                dilation=config.dilations[number],
                dropout=config.attention_dropout,
                global_attention=config.global_attention,
                uniform=config.attention == "uniform",
            ),
            AttentionOutput(hidden_size, config.dropout),
        )
        self.intermediate = Intermediate(hidden_size, config.intermediate_size)
        self.output = FeedForwardOutput(hidden_size, config.intermediate_size, config.dropout)

    def feed_forward(self, states: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D), token by token."""
        result: Tensor = self.output(self.intermediate(states), states)
        return result

    def finish(self, attended: Tensor, states: Tensor) -> Tensor:
        """Everything after attention: (B, T, D) attended, (B, T, D) input -> (B, T, D)."""
        return self.feed_forward(self.attention.output(attended, states))

    def forward_tokens(
        self, tokens: Tensor, cls: Tensor, turn: Rotation | None, valid: Tensor | None
    ) -> Tensor:
        """All tokens at once: (B, T, D) with [CLS] (B, G, D) -> (B, T, D)."""
        attention = self.attention.self
        around = attention.keys_values(tokens, turn)
        attended = attention.local(tokens, around, cls, turn=turn, valid=valid)
        return self.finish(attended, tokens)

    def forward_cls(self, tokens: Tensor, cls: Tensor, valid: Tensor | None) -> Tensor:
        """[CLS] (B, G, D) after looking at all tokens (B, T, D) -> (B, G, D)."""
        attention = self.attention.self
        running = attention.begin_global(cls)
        if attention.global_attention:
            running.update(tokens, valid)
        return self.finish(attention.end_global(running), cls)


class LayerStack(nn.Module):
    """Holds ``layer`` so that parameters are named as in ``transformers``."""

    def __init__(self, layers: list[LongformerLayer]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)
