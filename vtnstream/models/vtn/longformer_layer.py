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
_POSITION_STARTS = ("sinusoidal", "normal")


class Embeddings(nn.Module):
    """Add position and type embeddings to tokens, then LayerNorm and dropout.

    [CLS] has type 1. With learned positions it has its own row of the table, otherwise no position.
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
        """Embed tokens.

        Args:
            tokens: (B, T, D).
            indices: (B, T) int64 grid positions.
            padding_mask: (B, T) bool, False for padding.

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
        """Embed the global tokens: (B, G, D) to (B, G, D)."""
        if self.positions == "learned":
            cls = cls + self.position_embeddings.weight[-NUM_RESERVED]
        return self._finish(cls, CLS_TYPE)

    def _finish(self, tokens: Tensor, kind: int) -> Tensor:
        typed = tokens + self.token_type_embeddings.weight[kind]
        result: Tensor = self.dropout(self.LayerNorm(typed))
        return result

    def reset_positions(self, start: str) -> None:
        """Initialise a learned position table.

        Args:
            start: ``sinusoidal`` has amplitude 1, for features of unit scale; ``normal`` is
                N(0, .02), the paper's recipe for fine-tuning from strong features.

        Raises:
            ModelError: ``start`` is neither.
        """
        if start not in _POSITION_STARTS:
            raise ModelError(
                f"a position table starts {' or '.join(_POSITION_STARTS)}, not {start!r}"
            )
        if self.positions != "learned":
            return
        weight = self.position_embeddings.weight
        if weight.is_meta:  # will be loaded; torch would import its compiler to compute here
            return
        nn.init.normal_(weight, std=0.02)
        if start == "sinusoidal":
            with torch.no_grad():
                weight[:-NUM_RESERVED] = sinusoidal_table(*weight.shape)[:-NUM_RESERVED]
        nn.init.zeros_(weight[-1])  # padding


class LongformerLayer(nn.Module):
    """One Longformer layer, with separate passes for tokens and [CLS].

    Tokens can then be processed in blocks while [CLS] attends to all of them.
    """

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
        """Apply the feed-forward half to each token: (B, T, D) to (B, T, D)."""
        result: Tensor = self.output(self.intermediate(states), states)
        return result

    def finish(self, attended: Tensor, states: Tensor) -> Tensor:
        """Apply the parts of the layer that follow the attention.

        Args:
            attended: (B, T, D) output of the attention.
            states: (B, T, D) input of the layer.

        Returns:
            (B, T, D).
        """
        return self.feed_forward(self.attention.output(attended, states))

    def forward_tokens(
        self, tokens: Tensor, cls: Tensor, angles: Rotation | None, valid: Tensor | None
    ) -> Tensor:
        """Run the layer for all tokens at once.

        Args:
            tokens: (B, T, D).
            cls: (B, G, D) global tokens before the layer.
            angles: rotary angles of the tokens, or None.
            valid: (B, T) bool, False for padding.

        Returns:
            (B, T, D).
        """
        attention = self.attention.self
        around = attention.keys_values(tokens, angles)
        attended = attention.local(tokens, around, cls, angles=angles, valid=valid)
        return self.finish(attended, tokens)

    def forward_cls(self, tokens: Tensor, cls: Tensor, valid: Tensor | None) -> Tensor:
        """Run the layer for the global tokens (B, G, D), which attend to all tokens (B, T, D)."""
        attention = self.attention.self
        running = attention.begin_global(cls)
        if attention.global_attention:
            running.update(tokens, valid)
        return self.finish(attention.end_global(running), cls)


class LayerStack(nn.Module):
    """A list of layers under the name ``layer``, as in ``transformers``."""

    def __init__(self, layers: list[LongformerLayer]) -> None:
        super().__init__()
        self.layer = nn.ModuleList(layers)
