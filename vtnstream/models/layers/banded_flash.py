"""Banded attention on a CPU without a copy of keys or values: the fast way of
:func:`~vtnstream.models.layers.sliding_window.sliding_window_attention` when nothing is learned.

Blocks of queries see overlapping spans of keys as strided views, through torch's flash kernel,
which also tells the logarithm of each query's sum of weights. With it the few global keys are
merged in afterwards, so that they need no place in any span.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vtnstream.models.torch_internals.flash_kernel import flash_kernel

NARROW_BLOCK, WIDE_BLOCK = 32, 64
"""Queries a block for windows up to 128, and beyond. Smaller blocks see fewer keys outside
their band (w = 512, two layers of 7,200 tokens: 0.32 s by 64, 0.38 by 256)."""

Attended = tuple[Tensor, Tensor]
"""What queries take from the band, (B, T, H, Dh), and the logarithm of the sum of their
weights, (B, T, H) float32."""


def supports(*operands: Tensor) -> bool:
    """Whether this way can be taken: on a CPU, without gradients, and not while a compiler or
    exporter looks on, which do better with the public operators."""
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
    """Each query attends to the keys within ``reach`` of it.

    Args:
        query: (B, T, H, Dh), T at least 1.
        key: (B, S, H, Dh).
        value: (B, S, H, Dh).
        reach: tokens to either side.
        offset: key position of the first query.
    """
    length, available = query.shape[1], key.shape[1]
    size = NARROW_BLOCK if reach <= 64 else WIDE_BLOCK
    if length <= size + reach or available <= size + 2 * reach:
        return _whole(query, key, value, reach, offset)
    rows = [_row(*row, reach, offset, size) for row in zip(query, key, value, strict=True)]
    if len(rows) == 1:
        return rows[0][0][None], rows[0][1][None]
    return torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])


def merge_global(attended: Attended, scores: Tensor, global_value: Tensor) -> Tensor:
    """One softmax out of two: over the band, and over keys that every query sees.

    Args:
        attended: from :func:`banded_attention`; its first part is overwritten.
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


def _call(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Attended:
    """(N, L, H, Dh) against (N, S, H, Dh) -> (N, L, H, Dh) and (N, L, H)."""
    kernel = flash_kernel()
    assert kernel is not None
    return kernel(query, key, value, mask)


def _band(rows: int, columns: int, first: int, reach: int, like: Tensor) -> Tensor:
    """(rows, columns) of 0 in the band and -inf outside; row 0 stands at column ``first``."""
    ahead = torch.arange(columns) - first - torch.arange(rows)[:, None]
    return like.new_zeros(rows, columns).masked_fill_(ahead.abs() > reach, float("-inf"))


def _whole(query: Tensor, key: Tensor, value: Tensor, reach: int, offset: int) -> Attended:
    """One block of all queries, for sequences hardly longer than the band."""
    mask = _band(query.shape[1], key.shape[1], offset, reach, query)
    return _call(query, key, value, mask[None, None])


def _row(query: Tensor, key: Tensor, value: Tensor, reach: int, offset: int, size: int) -> Attended:
    """One sequence (T, H, Dh) in blocks: those whose span lies within the keys at once, and
    the few that reach beyond them."""
    length, available = query.shape[0], key.shape[0]
    blocks = -(-length // size)
    first = min(-(-max(reach - offset, 0) // size), blocks)
    last = min((available - reach - offset) // size, length // size)
    groups = [(0, first), (first, last), (last, blocks)] if first < last else [(0, blocks)]
    parts = [
        _blocks(query, key, value, reach, offset, size, *group)
        for group in groups
        if group[0] < group[1]
    ]
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
    """Blocks ``first`` to ``last`` of one sequence: (T', H, Dh) and (T', H)."""
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
    out, log_sum = _call(queries.view(count, size, *query.shape[1:]), keys, values, mask)
    return out.flatten(0, 1)[: stop - start], log_sum.flatten(0, 1)[: stop - start]


def _padded(states: Tensor, before: int, after: int) -> Tensor:
    """Rows of zeros around (T, H, Dh); the same tensor where none are wanted."""
    return F.pad(states, (0, 0, 0, 0, before, after)) if before or after else states
