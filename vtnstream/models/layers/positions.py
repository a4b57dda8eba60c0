"""Where a token stands in time, in the ways the paper compares (Table 2b) and one more.

All take absolute indices on the sampling grid, so a gap keeps its true length and a token
has the same position in one pass, in blocks and in a sliding window.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vtnstream.models.layers.overwriting import may_overwrite

BASE = 10_000.0
"""Longest period of the sinusoids is ``2 pi BASE`` tokens."""

NUM_RESERVED = 2
"""Rows of the learned table that are no time: [CLS] (last but one) and padding (last)."""


def _angles(positions: Tensor, count: int) -> Tensor:
    """``positions / BASE^(i / count)``; float64, as float32 loses the phase of long videos.

    Args:
        positions: (...) whole numbers.
        count: number of frequencies.

    Returns:
        (..., count) float64.
    """
    steps = torch.arange(count, dtype=torch.float64, device=positions.device) / count
    return positions.to(torch.float64)[..., None] * BASE**-steps


def sinusoidal(positions: Tensor, dim: int) -> Tensor:
    """Sine / cosine encoding of amplitude 1 (DETR's, on the temporal axis only).

    Args:
        positions: (...) whole numbers.
        dim: D; sine and cosine alternate.

    Returns:
        (..., D) float32.
    """
    angles = _angles(positions, (dim + 1) // 2)  # (..., D/2)
    pairs = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)  # (..., D)
    return pairs[..., :dim].float()


def table_rows(indices: Tensor, padding_mask: Tensor | None, num_rows: int) -> Tensor:
    """Rows of the learned table as the reference reads it: ``index % (P - 2)``.

    Args:
        indices: (B, T) int64 grid positions.
        padding_mask: (B, T) bool, True where a token is real.
        num_rows: P.

    Returns:
        (B, T) int64; padding reads the last row.
    """
    rows = indices % (num_rows - NUM_RESERVED)  # (B, T)
    if padding_mask is not None:
        rows = rows.masked_fill(~padding_mask, num_rows - 1)
    return rows


def sinusoidal_table(num_rows: int, dim: int) -> Tensor:
    """A learned table's start: sinusoids of amplitude about 1, padding zero.

    A table at N(0, .02) is far below the unit variance of normalised features and is not
    learned from (measured: 17 % against 93 % on an order task).

    Returns:
        (P, D) float32.
    """
    table = sinusoidal(torch.arange(num_rows), dim)  # (P, D)
    table[-1] = 0.0
    return table


Rotation = tuple[Tensor, Tensor]
"""Cosine and sine, each (B or 1, T, 1, Dh / 2) float32."""


def rotation(indices: Tensor, head_dim: int) -> Rotation:
    """Rotary position angles of each token (Su et al. 2021, RoFormer).

    Inside the sliding window a score then depends on the distance of two tokens in time
    and on nothing else, so it means the same in the third hour as in the first minute.

    Args:
        indices: (B, T) int64 grid positions.
        head_dim: Dh, even.

    Returns:
        cosine and sine, each (B, T, 1, Dh / 2).
    """
    angles = _angles(indices, head_dim // 2)[:, :, None, :]  # (B, T, 1, Dh/2)
    return angles.cos().float(), angles.sin().float()


def rotate(heads: Tensor, by: Rotation) -> Tensor:
    """Turn queries or keys by their token's angles.

    Args:
        heads: (B, T, H, Dh).
        by: from :func:`rotation`.

    Returns:
        (B, T, H, Dh) in the dtype of ``heads``.
    """
    cosine, sine = by
    first, second = heads.chunk(2, dim=-1)  # 2 x (B, T, H, Dh/2)
    if not may_overwrite() or heads.dtype != cosine.dtype:
        turned = (first * cosine - second * sine, second * cosine + first * sine)
        return torch.cat(turned, dim=-1).to(heads.dtype)
    result = torch.empty_like(heads)
    left, right = result.chunk(2, dim=-1)
    torch.mul(first, cosine, out=left).addcmul_(second, sine, value=-1)
    torch.mul(second, cosine, out=right).addcmul_(first, sine)
    return result
