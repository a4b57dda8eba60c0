"""Position embeddings of tokens: those the paper compares (Table 2b), and rotary positions.

All take absolute indices on the sampling grid. A gap in the video keeps its true length, and a
token has the same position in one pass, in blocks and in a sliding window.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vtnstream.models.layers.overwriting import may_overwrite

_BASE = 10_000.0
"""The longest period of the sinusoids is ``2 pi _BASE`` tokens."""

NUM_RESERVED = 2
"""Rows of the learned table that are not positions: [CLS] (last but one) and padding (last)."""


def _angles(positions: Tensor, count: int) -> Tensor:
    """Return ``positions / _BASE^(i / count)`` in float64, since float32 loses the phase in long
    videos.

    Args:
        positions: (...) integers.
        count: number of frequencies.

    Returns:
        (..., count) float64.
    """
    steps = torch.arange(count, dtype=torch.float64, device=positions.device) / count
    return positions.to(torch.float64)[..., None] * _BASE**-steps


def sinusoidal(positions: Tensor, dim: int) -> Tensor:
    """Return the sine and cosine encoding of amplitude 1 (that of DETR, on the temporal axis
    only).

    Args:
        positions: (...) integers.
        dim: D; sine and cosine alternate.

    Returns:
        (..., D) float32.
    """
    angles = _angles(positions, (dim + 1) // 2)  # (..., D/2)
    pairs = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)  # (..., D)
    return pairs[..., :dim].float()


def table_rows(indices: Tensor, padding_mask: Tensor | None, num_rows: int) -> Tensor:
    """Return the rows of the learned table for grid positions: ``index % (P - 2)``, as in the
    reference.

    Args:
        indices: (B, T) int64 grid positions.
        padding_mask: (B, T) bool, False for padding.
        num_rows: P.

    Returns:
        (B, T) int64; padding has the last row.
    """
    rows = indices % (num_rows - NUM_RESERVED)  # (B, T)
    if padding_mask is not None:
        rows = rows.masked_fill(~padding_mask, num_rows - 1)
    return rows


def sinusoidal_table(num_rows: int, dim: int) -> Tensor:
    """Return the initial values of a learned table: sinusoids of amplitude 1, zero for padding.

    A table from N(0, .02) is far below the unit variance of normalised features, and training
    does not make use of it (measured: 17 % instead of 93 % on a task about order).

    Returns:
        (P, D) float32.
    """
    table = sinusoidal(torch.arange(num_rows), dim)  # (P, D)
    table[-1] = 0.0
    return table


Rotation = tuple[Tensor, Tensor]
"""Cosine and sine, each (B or 1, T, 1, Dh / 2) float32."""


def rotation(indices: Tensor, head_dim: int) -> Rotation:
    """Return the rotary position angles of each token (Su et al. 2021, RoFormer).

    Inside the sliding window a score depends only on the distance of two tokens in time, so it
    means the same in the third hour as in the first minute.

    Args:
        indices: (B, T) int64 grid positions.
        head_dim: Dh, even.

    Returns:
        cosine and sine, each (B, T, 1, Dh / 2).
    """
    angles = _angles(indices, head_dim // 2)[:, :, None, :]  # (B, T, 1, Dh/2)
    return angles.cos().float(), angles.sin().float()


def rotate(heads: Tensor, by: Rotation) -> Tensor:
    """Rotate queries or keys by the angles of their tokens.

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
