"""Full attention without an N x N matrix, the baseline for the sliding window.

Time is quadratic in the length; memory is linear.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vtnstream.models.layers.sliding_window import with_score_columns


def full_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    valid: Tensor | None = None,
    global_key: Tensor | None = None,
    global_value: Tensor | None = None,
    global_query: Tensor | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Compute the attention of each query to all keys and all global keys, in one softmax.

    Args:
        query: (B, T, H, Dh).
        key: (B, S, H, Dh).
        value: (B, S, H, Dh).
        valid: (B, S) bool, False for padding; at least one key of each row is not padding.
        global_key: (B, G, H, Dh) or None.
        global_value: (B, G, H, Dh).
        global_query: (B, T, H, Dh) queries for the global keys where they differ from
            ``query``.
        dropout: probability on the attention weights.

    Returns:
        (B, T, H, Dh).
    """
    head_dim = query.shape[-1]
    if query.shape[1] == 0:
        return query
    if global_key is not None and global_value is not None:
        if global_query is not None:
            scores = torch.einsum("bthd,bghd->bthg", global_query, global_key)
            query, key, value, global_key, global_value = with_score_columns(
                query, key, value, scores, global_value
            )
        key, value = torch.cat((global_key, key), 1), torch.cat((global_value, value), 1)
        if valid is not None:
            valid = F.pad(valid, (global_key.shape[1], 0), value=True)
    attended = F.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=None if valid is None else valid[:, None, None],
        dropout_p=dropout,
        scale=head_dim**-0.5,
    )  # (B, H, T, E)
    return attended.transpose(1, 2)[..., :head_dim]
