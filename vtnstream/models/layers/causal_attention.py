"""Attention that never looks ahead, for online use: every token sees its own past, and the
[CLS] of that moment.

There is then a [CLS] for every token. A token enters its attention with the weight that the
[CLS] of the token's own moment gives it, and keeps that weight: so the attention is a running
softmax, linear in time, of which a stream carries one small state.
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
"""Tokens whose running softmax is one small matrix."""

_NOTHING = -1e30
"""Peak of a softmax that has seen nothing: finite, so that differences of peaks are."""


@dataclass(slots=True, eq=False)
class RunningSoftmax:
    """What [CLS] carries through one layer from moment to moment.

    Attributes:
        peak: (B, G, H) highest score so far.
        total: (B, G, H) sum of the weights, relative to the peak.
        sums: (B, G, H, Dh) weighted values, relative to the peak.
        scores: (B, G, H, T) of all tokens, where they are kept.
        own: (B, G, H, G) scores of the global tokens themselves, at the last moment.
    """

    peak: Tensor
    total: Tensor
    sums: Tensor
    scores: list[Tensor] | None = None
    own: Tensor | None = None

    @classmethod
    def begin(cls, like: Tensor, shape: tuple[int, int, int, int], keep: bool) -> RunningSoftmax:
        """Before the first token; ``shape`` is (B, G, H, Dh)."""
        peak = like.new_full(shape[:3], _NOTHING, dtype=torch.float32)
        zeros = like.new_zeros(shape, dtype=torch.float32)
        return cls(peak, zeros[..., 0], zeros, [] if keep else None)

    def weights(self) -> Tensor:
        """Weights of the last moment's [CLS]: (B, G, H, G + T), the global tokens' own first.

        Raises:
            RuntimeError: they were not kept, or no token was seen.
        """
        if self.scores is None or self.own is None:
            raise RuntimeError("weights were not kept: begin with keep=True")
        return torch.cat((self.own, *self.scores), dim=-1).softmax(-1)


@dataclass(slots=True, eq=False)
class LayerState:
    """What a stream carries through one layer: [CLS]'s softmax, and keys and values of the
    tokens that the next ones still see."""

    running: RunningSoftmax
    past: KeyValue | None = field(default=None)


def attend_globally(
    attention: LongformerSelfAttention,
    tokens: Tensor,
    cls: Tensor,
    running: RunningSoftmax,
    valid: Tensor | None = None,
) -> Tensor:
    """What [CLS] takes from itself and all tokens so far, at every moment.

    Args:
        attention: of the layer.
        tokens: (B, T, D) inputs of the layer, T at least 1.
        cls: (B, T, G, D) the global tokens at each of these moments.
        running: what was seen before; taken on.
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
        peak, total, sums = _take_on(running, scores, value, attention._dropout)
        if running.scores is not None:
            running.scores.append(scores)
    else:
        peak = own.new_full(own.shape[:-1], _NOTHING)
        total, sums = torch.zeros_like(peak), own.new_zeros(*peak.shape, query.shape[-1])
    running.own = own[..., -1, :]
    top = torch.maximum(peak, own.detach().amax(-1))  # (B, G, H, T)
    fade = torch.exp(peak - top)
    mine = torch.exp(own - top[..., None])  # (B, G, H, T, G)
    whole = total * fade + mine.sum(-1)
    mine = F.dropout(mine, attention._dropout, training=attention._dropout > 0)
    mixed = sums * fade[..., None] + torch.einsum("bghtf,btfhd->bghtd", mine, own_value)
    mixed = mixed / whole[..., None]  # (B, G, H, T, Dh)
    return mixed.permute(0, 3, 1, 2, 4).flatten(3).to(cls.dtype)


def _take_on(
    running: RunningSoftmax, scores: Tensor, value: Tensor, dropout: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The softmax so far at every moment: peaks (B, G, H, T), totals, and sums
    (B, G, H, T, Dh). A token that dropout leaves out is left out for good."""
    peaks, totals, sums = [], [], []
    heard = F.dropout(torch.ones_like(scores), dropout, training=dropout > 0)
    for start in range(0, scores.shape[-1], BLOCK):
        part = scores[..., start : start + BLOCK]  # (B, G, H, C)
        peak = part.detach().cummax(-1).values
        peak = torch.maximum(peak, running.peak[..., None])
        size = part.shape[-1]
        later = torch.ones(size, size, dtype=torch.bool, device=part.device).triu(1)
        weights = (part[..., None, :] - peak[..., None]).masked_fill(later, float("-inf")).exp()
        fade = torch.exp(running.peak[..., None] - peak)  # (B, G, H, C)
        total = weights.sum(-1) + running.total[..., None] * fade
        weights = weights * heard[..., None, start : start + BLOCK]
        taken = weights @ value[:, None, :, start : start + BLOCK]  # (B, G, H, C, Dh)
        taken = taken + running.sums[..., None, :] * fade[..., None]
        running.peak, running.total = peak[..., -1], total[..., -1]
        running.sums = taken[..., -1, :]
        peaks.append(peak)
        totals.append(total)
        sums.append(taken)
    return torch.cat(peaks, -1), torch.cat(totals, -1), torch.cat(sums, -2)


def attend_locally(
    attention: LongformerSelfAttention,
    tokens: Tensor,
    cls: Tensor,
    state: LayerState,
    *,
    turn: Rotation | None = None,
    valid: Tensor | None = None,
) -> Tensor:
    """What each token takes from the w / 2 before it, from itself and from the [CLS] of its
    moment, in one softmax.

    Args:
        attention: of the layer, with a window.
        tokens: (B, T, D) inputs of the layer, T at least 1.
        cls: (B, T, G, D) the global tokens at each of these moments.
        state: holds the tokens before; taken on.
        turn: rotation of the T tokens.
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
    near = attention.keys_values(tokens, turn)
    offset = 0
    if state.past is not None:
        offset = state.past.key.shape[1]
        near = KeyValue(*(torch.cat(pair, 1) for pair in zip(state.past, near, strict=True)))
    assert attention.window is not None
    reach = attention.window // 2
    kept = max(near.key.shape[1] - reach, 0)
    state.past = KeyValue(near.key[:, kept:], near.value[:, kept:])
    asking = query if turn is None else rotate(query, turn)
    attended = _behind(asking, near, offset, reach, scores, shared, valid, attention._dropout)
    return attended.flatten(2)  # (B, T, D)


def _behind(
    query: Tensor,
    near: KeyValue,
    offset: int,
    reach: int,
    global_scores: Tensor | None,
    global_value: Tensor | None,
    valid: Tensor | None,
    dropout: float,
) -> Tensor:
    """Each query with the ``reach`` keys before it and its own, in blocks: (B, T, H, Dh)."""
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
