"""Dilated convolutions over time in residual layers, as in MS-TCN (Farha and Gall, CVPR 2019), and
attention to the tokens around (as in ASFormer, Yi et al., BMVC 2021), for one network or several
side by side."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_QUERIES = 64
"""Tokens whose attention is computed as one block, of sequences longer than ``_SHORT``."""

_SHORT = 512
"""Up to so many tokens attend through one matrix, which is faster. Exported programs take any
length, and always use blocks."""

_TAPS = 3
"""Inputs of a convolution: one token before, the token itself, one after."""


def by_member(states: Tensor, members: int) -> Tensor:
    """Split the last axis by member: (..., M * C) to (..., M, C)."""
    return states.view(*states.shape[:-1], members, states.shape[-1] // members)


class MemberLinear(nn.Module):
    """M linear layers side by side, each on its own part of the states.

    Args:
        members: M.
        in_features: numbers per token and member.
        out_features: numbers per token and member of the output.

    Attributes:
        weight: (M, out, in).
        bias: (M, out).
    """

    def __init__(self, members: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(members, out_features, in_features))
        self.bias = nn.Parameter(torch.empty(members, out_features))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialise as torch does for a linear layer."""
        bound = 1 / math.sqrt(self.weight.shape[-1])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, states: Tensor) -> Tensor:
        """Map (..., M * in) to (..., M * out)."""
        members = len(self.weight)
        if members == 1:
            return F.linear(states, self.weight[0], self.bias[0])
        parts = by_member(states, members)  # (..., M, in)
        made = torch.einsum("...mi,moi->...mo", parts, self.weight) + self.bias
        return made.flatten(-2)


def neighbours(states: Tensor, step: int, members: int, causal: bool) -> Tensor:
    """Concatenate each token with its neighbours at distance ``step``, zeros beyond the ends.

    In causal mode the neighbours are those ``step`` and twice ``step`` before it.

    Args:
        states: (B, T, M * C).
        step: distance in tokens.
        members: M.
        causal: whether later tokens are excluded.

    Returns:
        (B, T, M * 3 C).
    """
    length = states.shape[1]
    around = (2 * step, 0) if causal else (step, step)
    padded = F.pad(states, (0, 0, *around))  # (B, T + 2 step, M * C)
    taps = [padded[:, n * step : n * step + length] for n in range(_TAPS)]
    if members == 1:
        return torch.cat(taps, dim=-1)
    return torch.cat([by_member(tap, members) for tap in taps], dim=-1).flatten(-2)


def banded_attention(
    query: Tensor, key: Tensor, value: Tensor, before: int, after: int, valid: Tensor | None
) -> Tensor:
    """Compute the attention of each token to those around it, in blocks: linear in the length.

    Args:
        query: (B, T, H, E).
        key: (B, T, H, E).
        value: (B, T, H, E).
        before: tokens before a token that it attends to.
        after: tokens after it.
        valid: (B, T) bool, False for padding, to which only itself attends; None is all True.

    Returns:
        (B, T, H, E).
    """
    length = query.shape[1]
    if not length:
        return query
    before, after = (min(reach, max(length - 1, 1)) for reach in (before, after))
    if valid is None:
        valid = torch.ones(1, length, dtype=torch.bool, device=query.device)
    if not torch.compiler.is_exporting() and length <= _SHORT:
        place = torch.arange(length, device=query.device)
        ahead = place[None, :] - place[:, None]  # (T, T)
        band = (ahead >= -before) & (ahead <= after)
        visible = band & (valid[:, None, :] | (ahead == 0))  # (B|1, T, T)
        attended = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=visible[:, None],
        )  # (B, H, T, E)
        return attended.transpose(1, 2)
    return _attention_in_blocks(query, key, value, before, after, valid)


def _attention_in_blocks(
    query: Tensor, key: Tensor, value: Tensor, before: int, after: int, valid: Tensor
) -> Tensor:
    """:func:`banded_attention` of a long sequence."""
    batch, length, heads, size_of_head = query.shape
    size = min(_QUERIES, length)
    blocks = -(-length // size)
    span, fill = size + before + after, blocks * size - length

    def spans(states: Tensor) -> Tensor:
        padded = F.pad(states, (0, 0, 0, 0, before, fill + after))
        return padded.unfold(1, span, size).transpose(-1, -2).flatten(0, 1)  # (B*N, H, span, E)

    real = F.pad(valid, (before, fill + after)).unfold(1, span, size)[:, :, None]
    rows = torch.arange(size, device=query.device)[:, None]
    ahead = torch.arange(span, device=query.device)[None, :] - rows  # (size, span)
    band = (ahead >= 0) & (ahead <= before + after)
    visible = band & (real | (ahead == before))  # (B|1, N, size, span)
    queries = F.pad(query, (0, 0, 0, 0, 0, fill))
    attended = F.scaled_dot_product_attention(
        queries.reshape(batch * blocks, size, heads, size_of_head).transpose(1, 2),
        spans(key),
        spans(value),
        attn_mask=visible.expand(batch, -1, -1, -1).flatten(0, 1)[:, None],
    )  # (B*N, H, size, E)
    whole = attended.transpose(1, 2).reshape(batch, blocks * size, heads, size_of_head)
    return whole[:, :length]


class FastDropout(nn.Module):
    """Dropout from uniform random numbers; torch's own draws Bernoulli numbers, which take three
    times as long on the CPU and a fifth of a training step of these networks.

    Args:
        p: probability that a number is set to zero.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, states: Tensor) -> Tensor:
        """Any shape; the identity outside of training."""
        if not self.training or not self.p:
            return states
        kept = (torch.rand_like(states) >= self.p).to(states.dtype)
        return states * kept.div_(1 - self.p)


class LocalAttention(nn.Module):
    """``x + W [attention of norm(x)]`` to the tokens within ``reach``. It starts as the identity.

    Args:
        members: M, number of networks side by side.
        size: C, numbers per token and member.
        heads: of each member; must divide C.
        reach: tokens to each side; in causal mode twice as many before and none after.
        dropout: probability, applied before the residual sum.
        causal: whether later tokens are excluded.
    """

    def __init__(
        self, members: int, size: int, heads: int, reach: int, dropout: float, causal: bool
    ) -> None:
        super().__init__()
        self.members, self.heads = members, heads
        self.before, self.after = (2 * reach, 0) if causal else (reach, reach)
        self.inputs = MemberLinear(members, size, 3 * size)
        self.output = MemberLinear(members, size, size)
        self.dropout = FastDropout(dropout)
        self.reset_output()

    def reset_output(self) -> None:
        """Make the layer the identity."""
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, T, M * C) to (B, T, M * C); ``mask`` (B, T, 1) as in :class:`DilatedLayer`."""
        parts = by_member(states, self.members)  # (B, T, M, C)
        size = parts.shape[-1]
        made = self.inputs(F.layer_norm(parts, (size,)).flatten(-2))  # (B, T, M * 3 C)
        shape = (*states.shape[:2], self.members, 3, self.heads, size // self.heads)
        query, key, value = (
            part.flatten(2, 3) for part in made.view(shape).unbind(3)
        )  # (B, T, M * H, E)
        valid = None if mask is None else mask[..., 0] > 0
        attended = banded_attention(query, key, value, self.before, self.after, valid)
        mixed: Tensor = states + self.dropout(self.output(attended.flatten(-2)))
        return mixed if mask is None else mixed * mask


class DilatedLayer(nn.Module):
    """``x + W2 relu(W1 [x_(t-d), x_t, x_(t+d)])``, then attention within 2 d if there are heads.

    Args:
        members: M, number of networks side by side.
        size: C, numbers per token and member.
        step: d.
        dropout: probability, applied before the residual sum.
        causal: whether later tokens are excluded.
        heads: of the attention; 0 is none.
    """

    def __init__(
        self, members: int, size: int, step: int, dropout: float, causal: bool, heads: int = 0
    ) -> None:
        super().__init__()
        self.attention: LocalAttention | None = None
        if heads:
            self.attention = LocalAttention(members, size, heads, 2 * step, dropout, causal)
        self.members, self.step, self.causal = members, step, causal
        self.convolution = MemberLinear(members, _TAPS * size, size)
        self.mix = MemberLinear(members, size, size)
        self.dropout = FastDropout(dropout)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, T, M * C) to (B, T, M * C); ``mask`` (B, T, 1) is 0 for padding, where
        ``states`` must be 0 and the output is 0."""
        seen = neighbours(states, self.step, self.members, self.causal)
        made: Tensor = states + self.dropout(self.mix(F.relu(self.convolution(seen))))
        if mask is not None:
            made = made * mask
        return made if self.attention is None else self.attention(made, mask)


def dilated_layers(
    members: int, size: int, count: int, dropout: float, causal: bool, heads: int = 0
) -> nn.ModuleList:
    """Build the layers, with steps 1, 2, 4 and so on; ``heads`` as in :class:`DilatedLayer`."""
    return nn.ModuleList(
        DilatedLayer(members, size, 2**number, dropout, causal, heads) for number in range(count)
    )


def reach(count: int, causal: bool, attention: bool = False) -> tuple[int, int]:
    """Return the number of tokens on each side that an output depends on after ``count`` layers."""
    side = 2**count - 1
    if attention:
        side *= 3  # the attention of each layer reaches twice as far as its convolution
    return (2 * side, 0) if causal else (side, side)
