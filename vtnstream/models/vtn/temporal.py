"""The temporal encoder: a Longformer over frame features (paper section 3.2).

Post-norm layers as in BERT, parameter names those of ``transformers``' LongformerModel
without its word embeddings and pooler, and equal to it on the same weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vtnstream.config import TemporalConfig
from vtnstream.errors import ModelError
from vtnstream.models.layers.attention import (
    LAYER_NORM_EPS,
    AttentionOutput,
    LongformerAttention,
    LongformerSelfAttention,
)
from vtnstream.models.layers.mlp import FeedForwardOutput, Intermediate, init_linear_weights
from vtnstream.models.layers.positions import (
    NUM_RESERVED,
    Rotation,
    rotation,
    sinusoidal,
    sinusoidal_table,
    table_rows,
)
from vtnstream.models.layers.sliding_window import way_of
from vtnstream.models.long_sequence.causal import CausalPass

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


class TemporalEncoder(nn.Module):
    """Longformer: sliding windows for tokens, global attention for [CLS] (and more global
    tokens, where there are some). With ``kind = "full"`` the windows reach over everything.

    Raises:
        ModelError: ``hidden_size`` does not divide into the heads, or rotary positions meet
            an odd head size.
    """

    def __init__(self, config: TemporalConfig, hidden_size: int) -> None:
        super().__init__()
        self.config = config
        self.cls_encoder: TemporalEncoder | None = None
        """Where this one works tokens in half precision, the one that works [CLS]: a single
        row, from which the answer is read."""
        self.grad_checkpointing = False
        self.hidden_size = hidden_size
        self.head_dim = hidden_size // config.num_heads
        self.embeddings = Embeddings(config, hidden_size)
        self.encoder = LayerStack(
            [LongformerLayer(config, hidden_size, n) for n in range(config.num_layers)]
        )
        if config.positions == "rotary" and self.head_dim % 2:
            raise ModelError(
                f"rotary positions need an even head size, not {self.head_dim}: "
                "change temporal.num_heads or temporal.positions"
            )
        self.reset_parameters()

    @property
    def layers(self) -> list[LongformerLayer]:
        """The layers in order."""
        return list(self.encoder.layer)  # type: ignore[arg-type]

    def reset_parameters(self, positions: str = "sinusoidal") -> None:
        """N(0, .02) everywhere (paper section 4.1); ``positions`` as in
        :meth:`Embeddings.reset_positions`."""
        init_linear_weights(self)
        self.embeddings.reset_positions(positions)

    def in_precision(self, dtype: torch.dtype) -> TemporalEncoder:
        """A copy that works tokens in ``dtype``; this one goes on working [CLS]."""
        twin = copy.deepcopy(self).to(dtype)
        twin.cls_encoder = self
        return twin

    @property
    def dtype(self) -> torch.dtype:
        """What tokens are worked in."""
        return self.embeddings.LayerNorm.weight.dtype

    @property
    def attention_way(self) -> str:
        """How inference works the tokens' attention with these weights, for reports: ``full``,
        ``causal``, or one of :func:`~vtnstream.models.layers.sliding_window.way_of`."""
        if self.config.causal:
            return "causal"
        if self.config.kind != "longformer":
            return self.config.kind
        return way_of(self.embeddings.LayerNorm.weight)

    @property
    def cls_layers(self) -> list[LongformerLayer]:
        """The layers that [CLS] goes through, in order."""
        return (self.cls_encoder or self).layers

    def embed_cls(self, cls: Tensor) -> Tensor:
        """As :meth:`Embeddings.embed_cls`, in the precision of [CLS]."""
        return (self.cls_encoder or self).embeddings.embed_cls(cls)

    def rotation(self, indices: Tensor) -> Rotation | None:
        """Rotary angles of (B, T) grid positions, or None for other kinds of position."""
        return rotation(indices, self.head_dim) if self.config.positions == "rotary" else None

    def without_tokens(self, cls: Tensor) -> Tensor:
        """[CLS] of a sequence of no token: (B, G, D), not yet embedded, -> (B, G, D)."""
        cls = self.embed_cls(cls)
        for layer in self.cls_layers:
            cls = layer.forward_cls(cls[:, :0], cls, None)
        return cls

    def forward(
        self,
        tokens: Tensor,
        cls: Tensor,
        *,
        padding_mask: Tensor | None = None,
        indices: Tensor | None = None,
        cls_only: bool = False,
    ) -> Tensor:
        """
        Args:
            tokens: (B, T, D).
            cls: (B, G, D), [CLS] and the other global tokens.
            padding_mask: (B, T) bool, True where a token is real.
            indices: (B, T) int64 grid positions; None counts from 0.
            cls_only: leave the last layer's tokens out; nothing else changes.

        Returns:
            (B, 1 + T, D), or (B, 1, D) with ``cls_only``. States of padding mean nothing.
        """
        if indices is None:
            indices = torch.arange(tokens.shape[1], device=tokens.device)
            indices = indices.expand(tokens.shape[0], -1)
        if self.config.causal and tokens.shape[1]:
            running = CausalPass(self, cls)
            _, made = running.advance(tokens, indices, padding_mask, cls_only=cls_only)
            first = running.cls[:, :1]  # padding adds nothing: this is the last real token's
            return first if made is None else torch.cat((first, made.to(first.dtype)), dim=1)
        tokens = self.embeddings(tokens, indices, padding_mask)  # (B, T, D)
        return self.forward_layers(
            tokens, self.embed_cls(cls), indices, padding_mask=padding_mask, cls_only=cls_only
        )

    def forward_layers(
        self,
        tokens: Tensor,
        cls: Tensor,
        indices: Tensor,
        *,
        padding_mask: Tensor | None = None,
        first: int = 0,
        cls_only: bool = False,
    ) -> Tensor:
        """Embedded tokens and [CLS], or what layer ``first - 1`` made of them, through the
        layers from ``first`` on; not in causal mode. Else as :meth:`forward`."""
        turn = self.rotation(indices)
        last = len(self.layers) - 1
        layers = list(zip(self.layers, self.cls_layers, strict=True))
        for number, (layer, of_cls) in enumerate(layers[first:], first):
            after = of_cls.forward_cls(tokens, cls, padding_mask)
            if number == last and cls_only:
                return after[:, :1]
            if self.grad_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(
                    layer.forward_tokens, tokens, cls, turn, padding_mask, use_reentrant=False
                )
            else:
                tokens = layer.forward_tokens(tokens, cls, turn, padding_mask)
            cls = after
        return torch.cat((cls[:, :1], tokens.to(cls.dtype)), dim=1)
