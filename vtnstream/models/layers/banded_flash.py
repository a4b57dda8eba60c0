"""Banded attention on a CPU without copies of keys or values.

It is the fast implementation of
:func:`~vtnstream.models.layers.sliding_window.sliding_window_attention` for inference. Blocks of
queries attend to overlapping spans of keys, which are strided views, through torch's flash kernel.
The kernel also returns the logsumexp of each query's scores; with it the global keys are merged
afterwards, so they need no place in the spans.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vtnstream.models.torch_internals.flash_kernel import FlashKernel, flash_kernel

NARROW_BLOCK, WIDE_BLOCK = 32, 64
"""Queries per block for windows up to 128, and for larger ones. Smaller blocks compute fewer keys
outside the band (w = 512, two layers of 7,200 tokens: 0.32 s with 64, 0.38 s with 256)."""

Attended = tuple[Tensor, Tensor]
"""Attention output of the band (B, T, H, Dh), and the logsumexp of the scores of each query
(B, T, H) float32."""


def supports(*operands: Tensor) -> bool:
    """Return whether this implementation can be used for these operands.

    It needs a CPU, no gradients and the kernel itself
    (:mod:`~vtnstream.models.torch_internals.flash_kernel`). Compilers and exporters get the
    public operators instead.
    """
    return (
        operands[0].device.type == "cpu"
        and operands[0].dtype in (torch.float32, torch.bfloat16)
        and not (torch.is_grad_enabled() and any(each.requires_grad for each in operands))
        and not torch.compiler.is_compiling()
        and flash_kernel() is not None
    )


def banded_attention(
    query: Tensor, key: Tensor, value: Tensor, *, reach: int, offset: int
) -> Attended:
    """Compute the attention of each query to the keys within ``reach`` of it.

    Args:
        query: (B, T, H, Dh), T at least 1.
        key: (B, S, H, Dh).
        value: (B, S, H, Dh).
        reach: number of keys on each side.
        offset: key position of the first query.

    Returns:
        attention output and logsumexp.
    """
    length, available = query.shape[1], key.shape[1]
    size = NARROW_BLOCK if reach <= 64 else WIDE_BLOCK
    if length <= size + reach or available <= size + 2 * reach:
        return _whole(query, key, value, reach, offset)
    if len(query) == 1:
        out, log_sum = _row(query[0], key[0], value[0], reach, offset, size)
        return out[None], log_sum[None]
    rows = [_row(*row, reach, offset, size) for row in zip(query, key, value, strict=True)]
    return torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])


def merge_global(attended: Attended, scores: Tensor, global_value: Tensor) -> Tensor:
    """Merge two softmaxes into one: over the band, and over the global keys.

    Args:
        attended: from :func:`banded_attention`; its first tensor is overwritten.
        scores: (B, T, H, G) float32, scaled.
        global_value: (B, G, H, Dh).

    Returns:
        (B, T, H, Dh).
    """
    local, log_sum = attended
    shared = torch.logsumexp(scores, dim=-1)  # (B, T, H)
    share = torch.sigmoid(shared - log_sum)[..., None].to(local.dtype)  # of the global keys
    if scores.shape[-1] == 1:
        mixed = global_value  # (B, 1, H, Dh)
    else:
        weights = torch.exp(scores - shared[..., None]).to(global_value.dtype)
        mixed = torch.einsum("bthg,bghd->bthd", weights, global_value)
    return local.lerp_(mixed.expand_as(local), share)


def _kernel() -> FlashKernel:
    kernel = flash_kernel()
    assert kernel is not None  # see supports()
    return kernel


def _band(rows: int, columns: int, first: int, reach: int, like: Tensor) -> Tensor:
    """Return the mask (rows, columns): 0 in the band, -inf outside.

    The band of row 0 has its centre at column ``first``.
    """
    ahead = torch.arange(columns) - first - torch.arange(rows)[:, None]
    return like.new_zeros(rows, columns).masked_fill_(ahead.abs() > reach, float("-inf"))


def _whole(query: Tensor, key: Tensor, value: Tensor, reach: int, offset: int) -> Attended:
    """Compute all queries in one block, for sequences hardly longer than the band."""
    mask = _band(query.shape[1], key.shape[1], offset, reach, query)
    return _kernel()(query, key, value, mask[None, None])


def _row(query: Tensor, key: Tensor, value: Tensor, reach: int, offset: int, size: int) -> Attended:
    """Compute one sequence (T, H, Dh) in blocks.

    Blocks whose span lies within the keys are computed in one call; the few blocks at the ends
    are computed separately, with padding.
    """
    length, available = query.shape[0], key.shape[0]
    blocks = -(-length // size)
    first = min(-(-max(reach - offset, 0) // size), blocks)
    last = min((available - reach - offset) // size, length // size)
    groups = [(0, first), (first, last), (last, blocks)] if first < last else [(0, blocks)]
    parts = []
    for start, stop in groups:
        if start < stop:
            parts.append(_blocks(query, key, value, reach, offset, size, start, stop))
    if len(parts) == 1:
        return parts[0]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def _blocks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    reach: int,
    offset: int,
    size: int,
    first: int,
    last: int,
) -> Attended:
    """Compute blocks ``first`` to ``last`` of one sequence: (T', H, Dh) and (T', H)."""
    span = size + 2 * reach
    count = last - first
    start, stop = first * size, min(last * size, len(query))
    left = offset + start - reach  # key position of the first span's first column
    right = left + (count - 1) * size + span
    mask = _band(size, span, reach, reach, query)[None, None]
    if left < 0 or right > len(key):
        columns = left + size * torch.arange(count)[:, None] + torch.arange(span)
        absent = (columns < 0) | (columns >= len(key))  # (N, span)
        mask = mask.repeat(count, 1, 1, 1).masked_fill_(absent[:, None, None], float("-inf"))
    queries = _padded(query[start:stop], 0, count * size - (stop - start))
    margin = max(-left, 0), max(right - len(key), 0)
    keys, values = (
        _padded(states[max(left, 0) : right], *margin).unfold(0, span, size).permute(0, 3, 1, 2)
        for states in (key, value)
    )  # views (N, span, H, Dh)
    out, log_sum = _kernel()(queries.view(count, size, *query.shape[1:]), keys, values, mask)
    return out.flatten(0, 1)[: stop - start], log_sum.flatten(0, 1)[: stop - start]


def _padded(states: Tensor, before: int, after: int) -> Tensor:
    """Add rows of zeros before and after (T, H, Dh)."""
    return F.pad(states, (0, 0, 0, 0, before, after)) if before or after else states
