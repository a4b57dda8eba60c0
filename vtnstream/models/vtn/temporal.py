"""The temporal encoder: a Longformer over frame features (paper section 3.2).

Parameters have the names that ``transformers`` uses in its LongformerModel, without the word
embeddings and the pooler, and the outputs are equal on the same weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vtnstream.config import TemporalConfig
from vtnstream.errors import ModelError
from vtnstream.models.layers.mlp import init_linear_weights
from vtnstream.models.layers.positions import Rotation, rotation
from vtnstream.models.layers.sliding_window import way_of
from vtnstream.models.vtn.causal_pass import CausalPass
from vtnstream.models.vtn.longformer_layer import Embeddings, LayerStack, LongformerLayer


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
