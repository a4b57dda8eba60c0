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
from vtnstream.models.layers.sliding_window import implementation_for
from vtnstream.models.vtn.causal_pass import CausalPass
from vtnstream.models.vtn.longformer_layer import Embeddings, LayerStack, LongformerLayer


class TemporalEncoder(nn.Module):
    """Longformer: a sliding window for every token, global attention for the global tokens.

    [CLS] is the first global token. With ``kind = "full"`` every token attends to all others.

    Args:
        config: the encoder's part of the model's config.
        hidden_size: D.

    Raises:
        ModelError: the number of heads does not divide ``hidden_size``, or the head size is odd
            with rotary positions.
    """

    def __init__(self, config: TemporalConfig, hidden_size: int) -> None:
        super().__init__()
        self.config = config
        self.cls_encoder: TemporalEncoder | None = None
        """The encoder of [CLS] where this one encodes tokens in half precision. [CLS] is a single
        token and the class is read from it, so it keeps full precision."""
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
        """Initialise all weights from N(0, .02) (paper section 4.1).

        Args:
            positions: see
                :meth:`~vtnstream.models.vtn.longformer_layer.Embeddings.reset_positions`.
        """
        init_linear_weights(self)
        self.embeddings.reset_positions(positions)

    def in_precision(self, dtype: torch.dtype) -> TemporalEncoder:
        """Return a copy that encodes tokens in ``dtype``; [CLS] stays with the layers of this
        one."""
        twin = copy.deepcopy(self).to(dtype)
        twin.cls_encoder = self
        return twin

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that tokens are encoded in."""
        return self.embeddings.LayerNorm.weight.dtype

    @property
    def attention_way(self) -> str:
        """The attention implementation that inference uses with these weights, for reports:
        ``full``, ``causal``, or a result of
        :func:`~vtnstream.models.layers.sliding_window.implementation_for`."""
        if self.config.causal:
            return "causal"
        if self.config.kind != "longformer":
            return self.config.kind
        return implementation_for(self.embeddings.LayerNorm.weight)

    @property
    def cls_layers(self) -> list[LongformerLayer]:
        """The layers that encode [CLS], in order."""
        return (self.cls_encoder or self).layers

    def embed_cls(self, cls: Tensor) -> Tensor:
        """Add the type and position embedding to global tokens: (B, G, D) to (B, G, D)."""
        return (self.cls_encoder or self).embeddings.embed_cls(cls)

    def rotation(self, indices: Tensor) -> Rotation | None:
        """Return the rotary angles of (B, T) grid positions, or None for other kinds of
        position."""
        return rotation(indices, self.head_dim) if self.config.positions == "rotary" else None

    def without_tokens(self, cls: Tensor) -> Tensor:
        """Encode the global tokens (B, G, D) of a sequence without tokens.

        Args:
            cls: (B, G, D), not yet embedded.
        """
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
        """Encode tokens and global tokens.

        Args:
            tokens: (B, T, D).
            cls: (B, G, D), [CLS] and the other global tokens.
            padding_mask: (B, T) bool, False for padding.
            indices: (B, T) int64 grid positions; None counts from 0.
            cls_only: skip the tokens of the last layer; [CLS] does not change.

        Returns:
            (B, 1 + T, D), or (B, 1, D) with ``cls_only``. States of padding are undefined.
        """
        if indices is None:
            indices = torch.arange(tokens.shape[1], device=tokens.device)
            indices = indices.expand(tokens.shape[0], -1)
        if self.config.causal and tokens.shape[1]:
            running = CausalPass(self, cls)
            _, made = running.advance(tokens, indices, padding_mask, cls_only=cls_only)
            first = running.cls[:, :1]  # padding changes nothing: this is [CLS] at the last token
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
        """Run the layers from ``first`` on; not in causal mode.

        Args:
            tokens: (B, T, D) embedded, or the output of layer ``first - 1``.
            cls: (B, G, D) likewise.
            indices: (B, T) int64 grid positions.
            padding_mask: (B, T) bool, False for padding.
            first: index of the first layer to run.
            cls_only: skip the tokens of the last layer.

        Returns:
            as :meth:`forward`.
        """
        angles = self.rotation(indices)
        last = len(self.layers) - 1
        layers = list(zip(self.layers, self.cls_layers, strict=True))
        for number, (layer, cls_layer) in enumerate(layers[first:], first):
            after = cls_layer.forward_cls(tokens, cls, padding_mask)
            if number == last and cls_only:
                return after[:, :1]
            if self.grad_checkpointing and torch.is_grad_enabled():
                tokens = checkpoint(
                    layer.forward_tokens, tokens, cls, angles, padding_mask, use_reentrant=False
                )
            else:
                tokens = layer.forward_tokens(tokens, cls, angles, padding_mask)
            cls = after
        return torch.cat((cls[:, :1], tokens.to(cls.dtype)), dim=1)
