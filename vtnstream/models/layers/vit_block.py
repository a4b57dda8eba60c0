"""Transformer blocks for tubelets: the attention of ViViT's four models (Arnab et al. 2021,
section 3.3).

The modules are taken from a timm ViT and keep their names, so training can start from any of
its ViTs. The computation is written here, with ``scaled_dot_product_attention`` for all
attention.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtnstream.errors import ModelError

_ATTENTION_PARTS = ("num_heads", "qkv", "q_norm", "k_norm", "attn_drop", "proj", "proj_drop")
_BLOCK_PARTS = ("norm1", "attn", "ls1", "drop_path1", "norm2", "mlp", "ls2", "drop_path2")


def heads(attention: Any, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute queries, keys and values: (..., N, D) to three of (..., N, H, Dh)."""
    joint = attention.qkv(tokens)
    query, key, value = joint.unflatten(-1, (3, attention.num_heads, -1)).unbind(-3)
    return attention.q_norm(query), attention.k_norm(key), value


def queries(attention: Any, tokens: Tensor) -> Tensor:
    """Compute queries without keys and values: (..., N, D) to (..., N, H, Dh)."""
    qkv = attention.qkv
    size = qkv.out_features // 3
    bias = None if qkv.bias is None else qkv.bias[:size]
    query: Tensor = F.linear(tokens, qkv.weight[:size], bias)
    normal: Tensor = attention.q_norm(query.unflatten(-1, (attention.num_heads, -1)))  # type: ignore[no-untyped-call]
    return normal


def scaled_attention(attention: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute the attention of each query to all keys of its row.

    All axes before the last three are flattened to one, for kernels that hold no M x N matrix.

    Args:
        attention: a timm attention module, for its dropout.
        query: (..., M, H, Dh).
        key: (..., N, H, Dh).
        value: (..., N, H, Dh).

    Returns:
        (..., M, H, Dh).
    """
    attended = F.scaled_dot_product_attention(
        query.flatten(0, -4).transpose(1, 2),  # (rows, H, M, Dh)
        key.flatten(0, -4).transpose(1, 2),
        value.flatten(0, -4).transpose(1, 2),
        dropout_p=attention.attn_drop.p if attention.training else 0.0,
    )
    return attended.transpose(1, 2).reshape(query.shape)


def project(attention: Any, attended: Tensor, tokens: Tensor) -> Tensor:
    """Apply norm, gate and output projection after attention: (..., N, H, Dh) and the input
    (..., N, D) to (..., N, D)."""
    mixed = attention.norm(attended.flatten(-2)) if has(attention, "norm") else attended.flatten(-2)
    if has(attention, "gate"):
        mixed = mixed * attention.gate(tokens).sigmoid()
    result: Tensor = attention.proj_drop(attention.proj(mixed))
    return result


def has(module: nn.Module, name: str) -> bool:
    """Return whether the module has this part; some parts exist only in recent releases of timm."""
    return getattr(module, name, None) is not None


def attend(attention: Any, tokens: Tensor) -> Tensor:
    """Compute self-attention over the last axis but one: (..., N, D) to (..., N, D)."""
    return project(attention, scaled_attention(attention, *heads(attention, tokens)), tokens)


class Block(nn.Module):
    """Pre-norm attention and MLP, each with layer scale and stochastic depth where the image
    model has them. Tokens attend to all tokens of their row.

    Args:
        image: a block of a timm ViT, whose modules are used.

    Raises:
        ModelError: it lacks one of the expected modules.
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
        for name in _BLOCK_PARTS:
            if not has(image, name):
                raise ModelError(f"its blocks have no {name}")
            setattr(self, name, getattr(image, name))
        if any(not has(self.attn, name) for name in _ATTENTION_PARTS):
            raise ModelError("its attention is of another kind")

    def attention(self, tokens: Tensor) -> Tensor:
        """Compute attention over normalised tokens: (..., N, D) to (..., N, D)."""
        return attend(self.attn, tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (..., N, D) to (..., N, D)."""
        tokens = tokens + self.drop_path1(self.ls1(self.attention(self.norm1(tokens))))
        return self.feed_forward(tokens)

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """Apply the MLP half of the block, token by token: (..., N, D) to (..., N, D)."""
        result: Tensor = tokens + self.drop_path2(self.ls2(self.mlp(self.norm2(tokens))))
        return result


class FactorisedSelfAttentionBlock(Block):
    """Model 3: attention over the patches of each tubelet index, then over the indices of each
    patch, then the MLP.

    The temporal attention is a copy of the spatial one with a zero output projection, so that the
    block initially computes the same as the image model and all of it can learn.
    """

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
        """Map (B, T, P, D) to (B, T, P, D)."""
        tokens = tokens + self.drop_path1(self.ls1(self.attention(self.norm1(tokens))))
        along = self.norm_time(tokens).transpose(1, 2)  # (B, P, T, D)
        mixed = attend(self.attn_time, along).transpose(1, 2)
        return self.feed_forward(tokens + self.drop_path_time(self.ls_time(mixed)))


class FactorisedDotProductBlock(Block):
    """Model 4: the first half of the heads attends over the tubelet indices of each patch, the
    second half over the patches of each index, with the weights of one attention.

    Raises:
        ModelError: the number of heads is odd.
    """

    def __init__(self, image: Any) -> None:
        super().__init__(image)
        if self.attn.num_heads % 2:
            raise ModelError(f"model 4 needs an even number of heads, not {self.attn.num_heads}")

    def attention(self, tokens: Tensor) -> Tensor:
        """Map (B, T, P, D) to (B, T, P, D)."""
        parts = heads(self.attn, tokens)  # 3 x (B, T, P, H, Dh)
        time, space = zip(*(part.chunk(2, dim=-2) for part in parts), strict=True)
        over_time = scaled_attention(self.attn, *(part.transpose(1, 2) for part in time)).transpose(
            1, 2
        )
        over_space = scaled_attention(self.attn, *space)
        return project(self.attn, torch.cat((over_time, over_space), dim=-2), tokens)
