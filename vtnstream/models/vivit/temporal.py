"""The temporal transformer of the factorised encoder (Arnab et al. 2021, section 3.3, model 2).

It has full attention over the vectors of all tubelet indices, and its own [CLS].
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vtnstream.models.layers.vit_block import Block

INIT_STD = 0.02


class TemporalTransformer(nn.Module):
    """Pre-norm blocks over tokens (B, T, D), with learned positions and [CLS] in front.

    Args:
        image: a timm ViT of the wanted depth, whose blocks and norm are used.
        clip_tokens: n, number of positions.
    """

    def __init__(self, image: Any, clip_tokens: int) -> None:
        super().__init__()
        self.clip_tokens = clip_tokens
        self.cls_token = nn.Parameter(torch.zeros(1, 1, image.embed_dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + clip_tokens, image.embed_dim))
        nn.init.trunc_normal_(self.pos_embed, std=INIT_STD)
        self.pos_drop = image.pos_drop
        self.blocks = nn.ModuleList([Block(block) for block in image.blocks])
        # ViTs with average pooling have their norm behind the pooling
        self.norm = image.fc_norm if isinstance(image.norm, nn.Identity) else image.norm

    def forward(self, tokens: Tensor, indices: Tensor | None = None) -> Tensor:
        """Encode a sequence.

        Args:
            tokens: (B, T, D).
            indices: (B, T) int64 grid positions, increasing; None counts from 0.

        Returns:
            (B, 1 + T, D), [CLS] first.
        """
        if indices is None:
            indices = torch.arange(tokens.shape[1], device=tokens.device)
            indices = indices.expand(tokens.shape[0], -1)
        placed = tokens + self.positions(indices, indices[:, :1], indices[:, -1:])
        states = torch.cat((self.start().expand(tokens.shape[0], -1, -1), placed), dim=1)
        states = self.pos_drop(states)
        for block in self.blocks:
            states = block(states)
        normal: Tensor = self.norm(states)
        return normal

    @property
    def layers(self) -> list[Block]:
        """The blocks in order."""
        return list(self.blocks)  # type: ignore[arg-type]

    def start(self) -> Tensor:
        """Return [CLS] with its position embedding: (1, 1, D)."""
        return self.cls_token + self.pos_embed[:, :1]

    def positions(self, indices: Tensor, first: Tensor, last: Tensor) -> Tensor:
        """Return the position embeddings of tokens.

        Up to the trained length they are rows of the table. A longer sequence is scaled to the
        table, and its rows are interpolated.

        Args:
            indices: (B, T) int64 grid positions.
            first: (B, 1) int64, grid position of the first token of the sequence.
            last: (B, 1) int64, grid position of the last token.

        Returns:
            (B, T, D).
        """
        table = self.pos_embed[0, 1:]  # (n, D)
        steps = (last - first).clamp(min=1).double()
        share = ((self.clip_tokens - 1) / steps).clamp(max=1.0)
        place = (indices - first) * share  # (B, T) float64
        below = place.floor().long().clamp(max=self.clip_tokens - 1)
        above = (below + 1).clamp(max=self.clip_tokens - 1)
        weight = (place - below).to(table.dtype)[..., None]
        return table[below] * (1 - weight) + table[above] * weight
