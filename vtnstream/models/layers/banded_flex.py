"""Banded attention on CUDA through FlexAttention, without copies of keys or values.

It has the interface of :mod:`~vtnstream.models.layers.banded_flash`. It has not been run on a GPU
yet, so it is off unless the environment variable :data:`SWITCH` is 1; CUDA then computes blocks
through ``scaled_dot_product_attention``. ``pytest -m gpu`` compares the two.
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
"""Environment variable; 1 enables this implementation on CUDA."""

TILE = 128
"""Queries and keys in one tile of the block mask."""


def supports(*operands: Tensor) -> bool:
    """Return whether this implementation is used for these operands: enabled, on CUDA, without
    gradients and outside another compiler."""
    return (
        operands[0].is_cuda
        and os.environ.get(SWITCH) == "1"
        and not (torch.is_grad_enabled() and any(each.requires_grad for each in operands))
        and not torch.compiler.is_compiling()
    )


def banded_attention(
    query: Tensor, key: Tensor, value: Tensor, *, reach: int, offset: int
) -> Attended:
    """Compute banded attention; see
    :func:`vtnstream.models.layers.banded_flash.banded_attention`."""
    mask = band_mask(query.shape[1], key.shape[1], reach, offset, query.device)
    return attend(_compiled(), query, key, value, mask)


def attend(
    flex_attention: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor, mask: Any
) -> Attended:
    """Run ``flex_attention``, compiled or not, on operands (B, T, H, Dh)."""
    from torch.nn.attention.flex_attention import AuxRequest

    out, more = flex_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        block_mask=mask,
        scale=query.shape[-1] ** -0.5,
        # One kernel for all lengths: otherwise a second one is compiled for fewer than 128 queries.
        kernel_options={"BACKEND": "TRITON"},
        return_aux=AuxRequest(lse=True),
    )
    return out.transpose(1, 2), more.lse.transpose(1, 2)


def band_mask(
    num_queries: int, num_keys: int, reach: int, offset: int, device: torch.device
) -> Any:
    """Return the band as a block mask, built tile by tile.

    The library's own ``create_block_mask`` first evaluates every pair of query and key.

    Args:
        num_queries: T.
        num_keys: S.
        reach: number of keys on each side.
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
