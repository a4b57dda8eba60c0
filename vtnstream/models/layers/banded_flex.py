"""Banded attention on CUDA through FlexAttention: the same as
:mod:`~vtnstream.models.layers.banded_flash` on a CPU, without a copy of keys or values.

Not yet run on a GPU: it is taken where the variable :data:`SWITCH` of the environment is 1, and
CUDA takes blocks through ``scaled_dot_product_attention`` otherwise. ``pytest -m gpu`` compares
the two.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from vtnstream.models.layers.banded_flash import Attended

SWITCH = "VTNSTREAM_FLEX_ATTENTION"
"""Of the environment: 1 has CUDA take this way."""

TILE = 128
"""Queries and keys of one block of the mask."""


def supports(*operands: Tensor) -> bool:
    """Whether this way is taken: asked for, on CUDA, without gradients, outside another
    compiler."""
    return (
        operands[0].is_cuda
        and os.environ.get(SWITCH) == "1"
        and not (torch.is_grad_enabled() and any(each.requires_grad for each in operands))
        and not torch.compiler.is_compiling()
    )


def banded_attention(
    query: Tensor, key: Tensor, value: Tensor, *, reach: int, offset: int
) -> Attended:
    """As :func:`vtnstream.models.layers.banded_flash.banded_attention`."""
    mask = band_mask(query.shape[1], key.shape[1], reach, offset, query.device)
    return attend(_compiled(), query, key, value, mask)


def attend(
    flex_attention: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, mask: Any
) -> Attended:
    """Run ``flex_attention``, compiled or not, on (B, T, H, Dh) operands."""
    from torch.nn.attention.flex_attention import AuxRequest

    out, more = flex_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        block_mask=mask,
        scale=query.shape[-1] ** -0.5,
        # One kernel for all lengths: below 128 queries another would be compiled beside it.
        kernel_options={"BACKEND": "TRITON"},
        return_aux=AuxRequest(lse=True),
    )
    return out.transpose(1, 2), more.lse.transpose(1, 2)


def band_mask(
    num_queries: int, num_keys: int, reach: int, offset: int, device: torch.device
) -> Any:
    """The band as a block mask, made tile by tile: the library's own maker first writes down
    every pair.

    Args:
        num_queries: T.
        num_keys: S.
        reach: tokens to either side.
        offset: key position of the first query.
        device: where the operands are.
    """
    from torch.nn.attention.flex_attention import BlockMask

    def near(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key - query - offset).abs() <= reach

    tiles = -(-num_keys // TILE)
    start = torch.arange(0, num_queries, TILE, device=device) + offset  # of each row of tiles
    first = (start - reach).clamp(min=0) // TILE
    last = (start + TILE - 1 + reach).clamp(max=num_keys - 1) // TILE
    counts = last - first + 1  # (rows,)
    widest = min((TILE + 2 * reach) // TILE + 2, tiles)
    columns = first[:, None] + torch.arange(widest, device=device)  # (rows, widest)
    columns = columns.clamp(max=tiles - 1)
    return BlockMask.from_kv_blocks(
        counts[None, None].int(),
        columns[None, None].int(),
        BLOCK_SIZE=TILE,
        mask_mod=near,
        seq_lengths=(num_queries, num_keys),
        compute_q_blocks=False,
    )


@cache
def _compiled() -> Callable[..., Any]:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)
