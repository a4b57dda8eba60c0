"""Blocks of an image ViT at work on tubelets: the attention of ViViT's four models (Arnab et
al. 2021, section 3.3).

The modules are timm's, under timm's names, so that any of its ViTs can be the start; what
they compute is written here once, with every attention in ``scaled_dot_product_attention``.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtnstream.errors import ModelError

ATTENTION_PARTS = ("num_heads", "qkv", "q_norm", "k_norm", "attn_drop", "proj", "proj_drop")
BLOCK_PARTS = ("norm1", "attn", "ls1", "drop_path1", "norm2", "mlp", "ls2", "drop_path2")


def heads(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values: (..., N, D) -> three of (..., N, H, Dh)."""
    joint = attention.qkv(tokens)
    query, key, value = joint.unflatten(-1, (3, attention.num_heads, -1)).unbind(-3)
    return attention.q_norm(query), attention.k_norm(key), value


def queries(attention: Any, tokens: Tensor) -> Tensor:
    """The queries alone: (..., N, D) -> (..., N, H, Dh)."""
    qkv = attention.qkv
    size = qkv.out_features // 3
    bias = None if qkv.bias is None else qkv.bias[:size]
    query: Tensor = F.linear(tokens, qkv.weight[:size], bias)
    normal: Tensor = attention.q_norm(query.unflatten(-1, (attention.num_heads, -1)))  # type: ignore[no-untyped-call]
    return normal


def look(attention: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Each query at all keys of its row: (..., M, H, Dh), (..., N, H, Dh) -> (..., M, H, Dh).
    Rows are one axis for the kernels that hold no M x N matrix."""
    attended = F.scaled_dot_product_attention(
        query.flatten(0, -4).transpose(1, 2),  # (rows, H, M, Dh)
        key.flatten(0, -4).transpose(1, 2),
        value.flatten(0, -4).transpose(1, 2),
        dropout_p=attention.attn_drop.p if attention.training else 0.0,
    )
    return attended.transpose(1, 2).reshape(query.shape)


def project(attention: Any, attended: Tensor, tokens: Tensor) -> Tensor:
    """Everything after the weighted sums: (..., N, H, Dh) and the input (..., N, D) ->
    (..., N, D)."""
    mixed = attention.norm(attended.flatten(-2)) if has(attention, "norm") else attended.flatten(-2)
    if has(attention, "gate"):
        mixed = mixed * attention.gate(tokens).sigmoid()
    result: Tensor = attention.proj_drop(attention.proj(mixed))
    return result


def has(module: nn.Module, name: str) -> bool:
    """Whether the module has this part; timm knows some of them only since of late."""
    return getattr(module, name, None) is not None


def attend(attention: Any, tokens: Tensor) -> Tensor:
    """Self-attention along the last axis but one: (..., N, D) -> (..., N, D)."""
    return project(attention, look(attention, *heads(attention, tokens)), tokens)


class Block(nn.Module):
    """Pre-norm attention and MLP, each with layer scale and stochastic depth where the image
    model has them. Tokens attend to all tokens of their row.

    Args:
        image: a timm ViT's block, whose parts are taken.

    Raises:
        ModelError: it has other parts.
    """

    norm1: Any
    attn: Any
    ls1: Any
    drop_path1: Any
    norm2: Any
    mlp: Any
    ls2: Any
    drop_path2: Any

    def __init__(self, image: Any) -> None:
        super().__init__()
        for name in BLOCK_PARTS:
            if not has(image, name):
                raise ModelError(f"its blocks have no {name}")
            setattr(self, name, getattr(image, name))
        if any(not has(self.attn, name) for name in ATTENTION_PARTS):
            raise ModelError("its attention is of another kind")

    def attention(self, tokens: Tensor) -> Tensor:
        """What attention makes of normalised tokens; the same shape."""
        return attend(self.attn, tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., N, D) -> (..., N, D)."""
        tokens = tokens + self.drop_path1(self.ls1(self.attention(self.norm1(tokens))))
        return self.feed_forward(tokens)

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """The second half: (..., N, D) -> (..., N, D), token by token."""
        result: Tensor = tokens + self.drop_path2(self.ls2(self.mlp(self.norm2(tokens))))
        return result


class FactorisedSelfAttentionBlock(Block):
    """Model 3: over the patches of each tubelet index, then over the indices of each patch,
    then the MLP. The added attention starts as the spatial one with an output of zero, so
    that the block is the image model's at first and all of it can learn."""

    def __init__(self, image: Any) -> None:
        super().__init__(image)
        self.norm_time: Any = copy.deepcopy(self.norm1)
        self.attn_time: Any = copy.deepcopy(self.attn)
        self.ls_time: Any = copy.deepcopy(self.ls1)
        self.drop_path_time: Any = copy.deepcopy(self.drop_path1)
        nn.init.zeros_(self.attn_time.proj.weight)
        if self.attn_time.proj.bias is not None:
            nn.init.zeros_(self.attn_time.proj.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, P, D) -> (B, T, P, D)."""
        tokens = tokens + self.drop_path1(self.ls1(self.attention(self.norm1(tokens))))
        along = self.norm_time(tokens).transpose(1, 2)  # (B, P, T, D)
        mixed = attend(self.attn_time, along).transpose(1, 2)
        return self.feed_forward(tokens + self.drop_path_time(self.ls_time(mixed)))


class FactorisedDotProductBlock(Block):
    """Model 4: the first half of the heads over the indices of each patch, the second over
    the patches of each index, with the weights of one attention.

    Raises:
        ModelError: the number of heads is odd.
    """

    def __init__(self, image: Any) -> None:
        super().__init__(image)
        if self.attn.num_heads % 2:
            raise ModelError(f"half of {self.attn.num_heads} heads is no whole number")

    def attention(self, tokens: Tensor) -> Tensor:
        """(B, T, P, D) -> (B, T, P, D)."""
        parts = heads(self.attn, tokens)  # 3 x (B, T, P, H, Dh)
        time, space = zip(*(part.chunk(2, dim=-2) for part in parts), strict=True)
        over_time = look(self.attn, *(part.transpose(1, 2) for part in time)).transpose(1, 2)
        over_space = look(self.attn, *space)
        return project(self.attn, torch.cat((over_time, over_space), dim=-2), tokens)
