"""The feed-forward half of a Longformer layer, and the initialisation of linear layers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vtnstream.models.layers.attention import LAYER_NORM_EPS, add_residual
from vtnstream.models.layers.overwriting import may_overwrite

INIT_STD = 0.02
"""Temporal encoder and heads are initialised from N(0, .02) (paper section 4.1)."""


class Intermediate(nn.Module):
    """``Linear(D, FFN)`` and GELU, the first half of the feed-forward network."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, intermediate_size)

    def forward(self, states: Tensor) -> Tensor:
        """Map (B, T, D) to (B, T, FFN)."""
        inner: Tensor = self.dense(states)
        if may_overwrite():  # the largest tensor is not held twice
            return F.gelu(inner, out=inner)  # type: ignore[call-arg]
        return F.gelu(inner)


class FeedForwardOutput(nn.Module):
    """``Linear(FFN, D)``, dropout, residual and LayerNorm, the second half."""

    def __init__(self, hidden_size: int, intermediate_size: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(intermediate_size, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inner: Tensor, states: Tensor) -> Tensor:
        """Map (B, T, FFN) and the residual (B, T, D) to (B, T, D)."""
        result: Tensor = self.LayerNorm(add_residual(self.dropout(self.dense(inner)), states))
        return result


def init_linear_weights(module: nn.Module) -> None:
    """Initialise all parts of a module: N(0, .02) for weights of linear layers and embeddings, zero
    for biases, one for the weights of norms."""
    for part in module.modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.normal_(part.weight, std=INIT_STD)
        if isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
        if isinstance(part, (nn.Linear, nn.LayerNorm)) and part.bias is not None:
            nn.init.zeros_(part.bias)
