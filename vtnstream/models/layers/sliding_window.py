"""Sliding-window attention of Longformer without an N x N matrix (paper section 3.2).

Queries are processed in blocks. A block attends to one span of neighbouring keys and to the few
global keys through ``scaled_dot_product_attention``. Time and memory are linear in the length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vtnstream.models.layers import banded_flash, banded_flex

MIN_BLOCK, MAX_BLOCK = 32, 256
"""Queries per block. Smaller blocks need more calls, larger ones compute more keys outside the
band; 32 was fastest for w = 32 and 256 for w = 512."""


def block_size(window: int) -> int:
    """Return the queries per block of a long sequence.

    It is a power of two, so that one amount of padding fits layers of all window sizes; exported
    programs depend on that.
    """
    wanted = max(MIN_BLOCK, min(window // 2, MAX_BLOCK))
    return 1 << (wanted - 1).bit_length()


def sliding_window_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    window: int,
    offset: int = 0,
    valid: Tensor | None = None,
    global_key: Tensor | None = None,
    global_value: Tensor | None = None,
    global_query: Tensor | None = None,
    dropout: float = 0.0,
    dilation: Sequence[int] = (1,),
) -> Tensor:
    """Compute the attention of each query to the keys within ``window / 2`` steps on either side
    and to all global keys, in one softmax.

    Args:
        query: (B, T, H, Dh).
        key: (B, S, H, Dh), covering at least the band of every query that exists.
        value: (B, S, H, Dh).
        window: w, even.
        offset: key position of the first query (0 where keys and queries coincide).
        valid: (B, S) bool, False for padding. A query always attends to its own position, so that
            the outputs of padding are finite; no other query attends to padding.
        global_key: (B, G, H, Dh) keys that every query attends to, or None.
        global_value: (B, G, H, Dh).
        global_query: (B, T, H, Dh) queries for the global keys where they differ from ``query``
            (rotary positions rotate only the local queries).
        dropout: probability on the attention weights.
        dilation: tokens from one key of the window to the next, one number for all heads or one for
            each head (Longformer's dilated sliding window).

    Returns:
        (B, T, H, Dh).
    """
    band = Band(query, key, value, valid, global_key, global_value, global_query)
    steps = sorted(set(dilation))
    if steps == [1]:
        return _undilated(band, window, offset, dropout)
    if len(steps) == 1:
        return _dilated(band, window, offset, dropout, steps[0])
    result = torch.empty_like(query)
    for step in steps:
        heads = [head for head, own in enumerate(dilation) if own == step]
        result[:, :, heads] = _dilated(band.of(heads), window, offset, dropout, step)
    return result


class Band(NamedTuple):
    """The operands of :func:`sliding_window_attention`."""

    query: Tensor
    key: Tensor
    value: Tensor
    valid: Tensor | None
    global_key: Tensor | None
    global_value: Tensor | None
    global_query: Tensor | None

    def of(self, heads: list[int]) -> Band:
        """Select the operands of some heads."""

        def some(each: Tensor | None) -> Tensor | None:
            return None if each is None else each[:, :, heads]

        return Band(
            self.query[:, :, heads],
            self.key[:, :, heads],
            self.value[:, :, heads],
            self.valid,
            some(self.global_key),
            some(self.global_value),
            some(self.global_query),
        )

    def every(self, step: int, first_query: int, first_key: int) -> Band:
        """Select every ``step``-th query and key, beginning with the given ones."""
        asking, seen = slice(first_query, None, step), slice(first_key, None, step)
        return self._replace(
            query=self.query[:, asking],
            key=self.key[:, seen],
            value=self.value[:, seen],
            valid=None if self.valid is None else self.valid[:, seen],
            global_query=None if self.global_query is None else self.global_query[:, asking],
        )


def _dilated(band: Band, window: int, offset: int, dropout: float, step: int) -> Tensor:
    """Compute attention with one dilation: ``step`` interleaved sequences, each without
    dilation."""
    if step == 1:
        return _undilated(band, window, offset, dropout)
    result = torch.empty_like(band.query)
    for first in range(min(step, band.query.shape[1])):
        place = offset + first
        part = band.every(step, first, place % step)
        result[:, first::step] = _undilated(part, window, place // step, dropout)
    return result


def _undilated(band: Band, window: int, offset: int, dropout: float) -> Tensor:
    query, key, value, valid, global_key, global_value, global_query = band
    head_dim = query.shape[-1]
    if query.shape[1] == 0:
        return query
    way = _whole(query, key, value) if valid is None and not dropout else None
    if way is not None:
        local = way(query, key, value, reach=window // 2, offset=offset)
        if global_key is None or global_value is None:
            return local[0]
        asking = query if global_query is None else global_query
        scores = torch.einsum("bthd,bghd->bthg", asking.float(), global_key.float())
        return banded_flash.merge_global(local, scores * head_dim**-0.5, global_value)
    shared = None
    if global_key is not None and global_value is not None:
        if global_query is not None:
            scores = torch.einsum("bthd,bghd->bthg", global_query, global_key)
            query, key, value, global_key, global_value = with_score_columns(
                query, key, value, scores, global_value
            )
        shared = (global_key, global_value)
    attended = _in_blocks(query, key, value, shared, window, offset, valid, dropout, head_dim**-0.5)
    return attended[..., :head_dim]  # (B, T, H, Dh)


def implementation_for(like: Tensor) -> str:
    """Return the implementation that inference uses for operands of this device and dtype.

    Returns:
        ``flash`` (:mod:`~vtnstream.models.layers.banded_flash`), ``flex``
        (:mod:`~vtnstream.models.layers.banded_flex`) or ``blocks``.
    """
    like = like.detach()
    if banded_flash.supports(like):
        return "flash"
    return "flex" if banded_flex.supports(like) else "blocks"


def _whole(*operands: Tensor) -> Callable[..., banded_flash.Attended] | None:
    """Return the function that computes the whole band at once for these operands, or None for
    blocks."""
    if banded_flash.supports(*operands):
        return banded_flash.banded_attention
    return banded_flex.banded_attention if banded_flex.supports(*operands) else None


def _in_blocks(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shared: tuple[Tensor, Tensor] | None,
    window: int,
    offset: int,
    valid: Tensor | None,
    dropout: float,
    scale: float,
) -> Tensor:
    """Compute attention in blocks through public operators, for any head size E.

    Args:
        query: (B, T, H, E).
        key: (B, S, H, E).
        value: (B, S, H, E).
        shared: keys and values of the global tokens, each (B, G, H, E), or None.
        window: w.
        offset: key position of the first query.
        valid: (B, S) bool, False for padding.
        dropout: probability on the attention weights.
        scale: of the scores.

    Returns:
        (B, T, H, E).
    """
    batch, length, heads, size_of_head = query.shape
    reach = min(window // 2, max(key.shape[1] - 1, 1))
    size = min(block_size(window), length)
    blocks = -(-length // size)
    keys = _spans(key, length, offset, size, reach)  # (B*N, H, span, E)
    values = _spans(value, length, offset, size, reach)
    visible = _visible_keys(key, valid, length, offset, size, reach)  # (B|1, N, size, span)
    if shared is not None:
        keys, values = _with_globals(shared[0], keys), _with_globals(shared[1], values)
        visible = F.pad(visible, (shared[0].shape[1], 0), value=True)
    queries = F.pad(query, (0, 0, 0, 0, 0, blocks * size - length))
    attended = F.scaled_dot_product_attention(
        queries.reshape(batch * blocks, size, heads, size_of_head).transpose(1, 2),
        keys,  # (B*N, H, G + span, E)
        values,
        attn_mask=visible.expand(batch, -1, -1, -1).flatten(0, 1)[:, None],
        dropout_p=dropout,
        scale=scale,
    )  # (B*N, H, size, E)
    attended = attended.transpose(1, 2).reshape(batch, blocks * size, heads, size_of_head)
    return attended[:, :length]


def _aligned(states: Tensor, length: int, offset: int, size: int, reach: int) -> Tensor:
    """Pad or cut (B, S, ...) so that position 0 is the leftmost key of the first query and the
    span of the last block is complete."""
    blocks = -(-length // size)
    left = reach - offset
    right = offset + blocks * size + reach - states.shape[1]
    return F.pad(states, (0, 0) * (states.ndim - 2) + (left, right))


def _spans(states: Tensor, length: int, offset: int, size: int, reach: int) -> Tensor:
    """Return the keys or values of each block of queries: (B, S, H, Dh) to
    (B*N, H, size + 2 reach, Dh)."""
    aligned = _aligned(states, length, offset, size, reach)
    spans = aligned.unfold(1, size + 2 * reach, size)  # (B, N, H, Dh, span)
    return spans.transpose(-1, -2).flatten(0, 1)


def _with_globals(shared: Tensor, spans: Tensor) -> Tensor:
    """Prepend (B, G, H, Dh) to the span of every block (B*N, H, span, Dh)."""
    blocks = spans.shape[0] // shared.shape[0]
    front = shared.transpose(1, 2)[:, None].expand(-1, blocks, -1, -1, -1).flatten(0, 1)
    return torch.cat((front, spans), dim=2)


def _visible_keys(
    key: Tensor, valid: Tensor | None, length: int, offset: int, size: int, reach: int
) -> Tensor:
    """Return the mask (B or 1, N, size, span) bool: the band without padding, and each query's
    own key."""
    rows = torch.arange(size, device=key.device)[:, None]
    columns = torch.arange(size + 2 * reach, device=key.device)[None, :]
    ahead = columns - rows
    band = (ahead >= 0) & (ahead <= 2 * reach)  # (size, span)
    if valid is None:
        valid = torch.ones(1, key.shape[1], dtype=torch.bool, device=key.device)
    inside = _aligned(valid, length, offset, size, reach)
    inside = inside.unfold(1, size + 2 * reach, size)[:, :, None]  # (B|1, N, 1, span)
    return band & (inside | (ahead == reach))


def with_score_columns(
    query: Tensor, key: Tensor, value: Tensor, scores: Tensor, global_value: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Put precomputed global scores into one softmax with the local ones.

    Each query is extended by G numbers, its global scores. Global key g is zero except for a one
    at the g-th of these, and local keys are zero there, so the product of query and key is the
    score. In half precision each score takes two numbers (the rounded value and the remainder), so
    that no precision is lost.

    Args:
        query: (B, T, H, Dh). key, value: (B, S, H, Dh). scores: (B, T, H, G).
        global_value: (B, G, H, Dh).

    Returns:
        query, key, value, global key and global value, with head size Dh + G (or Dh + 2 G).
    """
    batch, _, heads, head_dim = query.shape
    num_globals = scores.shape[-1]
    columns = scores.to(query.dtype)
    extra = num_globals
    if query.dtype in (torch.float16, torch.bfloat16):
        rest = (scores.float() - columns.float()).to(query.dtype)
        columns = torch.cat((columns, rest), dim=-1)
        extra = 2 * num_globals
    one = torch.eye(num_globals, dtype=key.dtype, device=key.device)
    unit = one.repeat(1, extra // num_globals)[:, None, :].expand(-1, heads, -1)  # (G, H, extra)
    global_key = F.pad(unit, (head_dim, 0)).expand(batch, -1, -1, -1)
    grow = (0, extra)
    return (
        torch.cat((query, columns), dim=-1),
        F.pad(key, grow),
        F.pad(value, grow),
        global_key,
        F.pad(global_value, grow),
    )
