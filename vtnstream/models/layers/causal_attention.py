"""Causal attention, for online use: a token attends to earlier tokens and to the [CLS] of its step.

In causal mode there is one [CLS] state per token. A token enters the attention of [CLS] with the
score that the [CLS] of the token's own step gives it, and keeps that score. The attention is thus a
running softmax: it takes linear time, and a stream carries a small state of constant size.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vtnstream.models.layers.attention import KeyValue, LongformerSelfAttention
from vtnstream.models.layers.positions import Rotation, rotate
from vtnstream.models.layers.sliding_window import block_size

BLOCK = 64
"""Tokens whose running softmax is computed as one small matrix."""

_EMPTY_PEAK = -1e30
"""Peak of an empty softmax. It is finite, so that differences of peaks are finite as well."""


@dataclass(slots=True, eq=False)
class RunningSoftmax:
    """State of the attention of [CLS] in one layer, carried from one step to the next.

    Attributes:
        peak: (B, G, H) highest score so far.
        total: (B, G, H) sum of the weights, relative to the peak.
        sums: (B, G, H, Dh) weighted values, relative to the peak.
        scores: (B, G, H, T) of all tokens, where they are kept; else None.
        own: (B, G, H, G) scores of the global tokens themselves at the last step.
    """

    peak: Tensor
    total: Tensor
    sums: Tensor
    scores: list[Tensor] | None = None
    own: Tensor | None = None

    @classmethod
    def begin(cls, like: Tensor, shape: tuple[int, int, int, int], keep: bool) -> RunningSoftmax:
        """Return the state before the first token.

        Args:
            like: a tensor on the device to use.
            shape: (B, G, H, Dh).
            keep: whether to keep the scores of all tokens.
        """
        peak = like.new_full(shape[:3], _EMPTY_PEAK, dtype=torch.float32)
        zeros = like.new_zeros(shape, dtype=torch.float32)
        return cls(peak, zeros[..., 0], zeros, [] if keep else None)

    def weights(self) -> Tensor:
        """Return the attention weights of [CLS] at the last step: (B, G, H, G + T), the global
        tokens first.

        Raises:
            RuntimeError: they were not kept, or there was no token.
        """
        if self.scores is None or self.own is None:
            raise RuntimeError("weights were not kept: begin with keep=True")
        return torch.cat((self.own, *self.scores), dim=-1).softmax(-1)


@dataclass(slots=True, eq=False)
class LayerState:
    """State of a stream in one layer.

    Attributes:
        running: attention of [CLS] so far.
        past: keys and values of the last tokens, which the next tokens attend to.
    """

    running: RunningSoftmax
    past: KeyValue | None = field(default=None)


def attend_globally(
    attention: LongformerSelfAttention,
    tokens: Tensor,
    cls: Tensor,
    running: RunningSoftmax,
    valid: Tensor | None = None,
) -> Tensor:
    """Compute the attention of the global tokens to themselves and to all tokens so far, at
    every step.

    Args:
        attention: of the layer.
        tokens: (B, T, D) inputs of the layer, T at least 1.
        cls: (B, T, G, D) the global tokens at each of these steps.
        running: state after the earlier tokens; updated.
        valid: (B, T) bool, False for padding.

    Returns:
        (B, T, G, D), before the output projection.
    """
    heads = attention._heads
    query = heads(attention.query_global(cls)).float()  # (B, T, G, H, Dh)
    query = query * (0.0 if attention.uniform else query.shape[-1] ** -0.5)
    own_key = heads(attention.key_global(cls)).float()
    own_value = heads(attention.value_global(cls)).float()
    own = torch.einsum("btghd,btfhd->bghtf", query, own_key)  # (B, G, H, T, G)
    if attention.global_attention:
        key = heads(attention.key_global(tokens)).float()  # (B, T, H, Dh)
        scores = torch.einsum("btghd,bthd->bght", query, key)
        if valid is not None:
            scores = scores.masked_fill(~valid[:, None, None], float("-inf"))
        value = heads(attention.value_global(tokens)).float().transpose(1, 2)  # (B, H, T, Dh)
        peak, total, sums = _extend(running, scores, value, attention._dropout)
        if running.scores is not None:
            running.scores.append(scores)
    else:
        peak = own.new_full(own.shape[:-1], _EMPTY_PEAK)
        total, sums = torch.zeros_like(peak), own.new_zeros(*peak.shape, query.shape[-1])
    running.own = own[..., -1, :]
    top = torch.maximum(peak, own.detach().amax(-1))  # (B, G, H, T)
    fade = torch.exp(peak - top)
    weights = torch.exp(own - top[..., None])  # (B, G, H, T, G)
    whole = total * fade + weights.sum(-1)
    weights = F.dropout(weights, attention._dropout, training=attention._dropout > 0)
    mixed = sums * fade[..., None] + torch.einsum("bghtf,btfhd->bghtd", weights, own_value)
    mixed = mixed / whole[..., None]  # (B, G, H, T, Dh)
    return mixed.permute(0, 3, 1, 2, 4).flatten(3).to(cls.dtype)


def _extend(
    running: RunningSoftmax, scores: Tensor, value: Tensor, dropout: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the running softmax after each token: peaks and totals (B, G, H, T), sums (B, G, H,
    T, Dh).

    Args:
        running: state after the earlier tokens; updated.
        scores: (B, G, H, T).
        value: (B, H, T, Dh).
        dropout: probability; a dropped token is dropped at all later steps too.
    """
    peaks, totals, sums = [], [], []
    kept = F.dropout(torch.ones_like(scores), dropout, training=dropout > 0)
    for start in range(0, scores.shape[-1], BLOCK):
        part = scores[..., start : start + BLOCK]  # (B, G, H, C)
        peak = part.detach().cummax(-1).values
        peak = torch.maximum(peak, running.peak[..., None])
        size = part.shape[-1]
        later = torch.ones(size, size, dtype=torch.bool, device=part.device).triu(1)
        weights = (part[..., None, :] - peak[..., None]).masked_fill(later, float("-inf")).exp()
        fade = torch.exp(running.peak[..., None] - peak)  # (B, G, H, C)
        total = weights.sum(-1) + running.total[..., None] * fade
        weights = weights * kept[..., None, start : start + BLOCK]
        weighted = weights @ value[:, None, :, start : start + BLOCK]  # (B, G, H, C, Dh)
        weighted = weighted + running.sums[..., None, :] * fade[..., None]
        running.peak, running.total = peak[..., -1], total[..., -1]
        running.sums = weighted[..., -1, :]
        peaks.append(peak)
        totals.append(total)
        sums.append(weighted)
    return torch.cat(peaks, -1), torch.cat(totals, -1), torch.cat(sums, -2)


def attend_locally(
    attention: LongformerSelfAttention,
    tokens: Tensor,
    cls: Tensor,
    state: LayerState,
    *,
    angles: Rotation | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """Compute the attention of each token to the w / 2 tokens before it, itself and the [CLS] of
    its step, in one softmax.

    Args:
        attention: of the layer, with a window.
        tokens: (B, T, D) inputs of the layer, T at least 1.
        cls: (B, T, G, D) the global tokens at each of these steps.
        state: holds keys and values of the earlier tokens; updated.
        angles: rotary angles of the T tokens.
        valid: (B, T) bool, False for padding; only with an empty past.

    Returns:
        (B, T, D), before the output projection.
    """
    query = attention._heads(attention.query(tokens))  # (B, T, H, Dh)
    if attention.uniform:
        query = torch.zeros_like(query)
    scores = shared = None
    if attention.global_attention:
        flat = attention.keys_values(cls.to(tokens.dtype))  # each (B, T, G, H, Dh)
        scores = torch.einsum("bthd,btghd->bthg", query, flat.key)
        shared = flat.value
    near = attention.keys_values(tokens, angles)
    offset = 0
    if state.past is not None:
        offset = state.past.key.shape[1]
        near = KeyValue(*(torch.cat(pair, 1) for pair in zip(state.past, near, strict=True)))
    assert attention.window is not None
    reach = attention.window // 2
    kept = max(near.key.shape[1] - reach, 0)
    state.past = KeyValue(near.key[:, kept:], near.value[:, kept:])
    asking = query if angles is None else rotate(query, angles)
    attended = _attend_to_past(
        asking, near, offset, reach, scores, shared, valid, attention._dropout
    )
    return attended.flatten(2)  # (B, T, D)


def _attend_to_past(
    query: Tensor,
    near: KeyValue,
    offset: int,
    reach: int,
    global_scores: Tensor | None,
    global_value: Tensor | None,
    valid: Tensor | None,
    dropout: float,
) -> Tensor:
    """Compute the attention of each query to its own key and the ``reach`` keys before it, in
    blocks.

    Args:
        query: (B, T, H, Dh).
        near: keys and values (B, S, H, Dh), S = offset + T.
        offset: key position of the first query.
        reach: earlier keys of each query.
        global_scores: (B, T, H, G) unscaled, or None.
        global_value: (B, T, G, H, Dh), or None.
        valid: (B, S) bool, False for padding.
        dropout: probability on the attention weights.

    Returns:
        (B, T, H, Dh).
    """
    length, scale = query.shape[1], query.shape[-1] ** -0.5
    size = min(block_size(2 * reach), length)
    count = -(-length // size)
    tail = count * size - length

    def spans(states: Tensor) -> Tensor:  # (B, S, ...) -> (B, N, ..., size + reach)
        padding = (0, 0) * (states.ndim - 2) + (reach - offset, tail)
        return F.pad(states, padding).unfold(1, size + reach, size)

    def blocks(states: Tensor) -> Tensor:  # (B, T, ...) -> (B, N, size, ...)
        padded = F.pad(states, (0, 0) * (states.ndim - 2) + (0, tail))
        return padded.view(padded.shape[0], count, size, *padded.shape[2:])

    keys, values = spans(near.key), spans(near.value)  # (B, N, H, Dh, span)
    scores = torch.einsum("bnqhd,bnhds->bnhqs", blocks(query), keys)
    exists = valid if valid is not None else near.key.new_ones(near.key.shape[:2])
    inside = spans(exists.to(torch.uint8)).bool()[:, :, None, None]  # (B, N, 1, 1, span)
    ahead = torch.arange(size + reach, device=query.device)
    ahead = ahead - torch.arange(size, device=query.device)[:, None]  # (size, span)
    seen = (ahead >= 0) & (ahead <= reach) & (inside | (ahead == reach))
    scores = (scores.float() * scale).masked_fill(~seen, float("-inf"))
    num_globals = 0
    if global_scores is not None:
        of_globals = blocks(global_scores).transpose(2, 3).float() * scale  # (B, N, H, q, G)
        num_globals = of_globals.shape[-1]
        scores = torch.cat((of_globals, scores), -1)
    weights = F.dropout(scores.softmax(-1), dropout, training=dropout > 0).to(query.dtype)
    mixed = torch.einsum("bnhqs,bnhds->bnqhd", weights[..., num_globals:], values)
    if global_value is not None:
        mixed = mixed + torch.einsum(
            "bnhqg,bnqghd->bnqhd", weights[..., :num_globals], blocks(global_value)
        )
    return mixed.flatten(1, 2)[:, :length]
