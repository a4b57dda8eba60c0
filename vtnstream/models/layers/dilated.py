"""Dilated convolutions over time in residual layers, as in MS-TCN (Farha and Gall, CVPR 2019),
for one network or several side by side."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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


class DilatedLayer(nn.Module):
    """``x + W2 relu(W1 [x_(t-d), x_t, x_(t+d)])``.

    Args:
        members: M, number of networks side by side.
        size: C, numbers per token and member.
        step: d.
        dropout: probability, applied before the residual sum.
        causal: whether later tokens are excluded.
    """

    def __init__(self, members: int, size: int, step: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.members, self.step, self.causal = members, step, causal
        self.convolution = MemberLinear(members, _TAPS * size, size)
        self.mix = MemberLinear(members, size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Map (B, T, M * C) to (B, T, M * C); ``mask`` (B, T, 1) is 0 for padding, where
        ``states`` must be 0 and the output is 0."""
        seen = neighbours(states, self.step, self.members, self.causal)
        made: Tensor = states + self.dropout(self.mix(F.relu(self.convolution(seen))))
        return made if mask is None else made * mask


def dilated_layers(
    members: int, size: int, count: int, dropout: float, causal: bool
) -> nn.ModuleList:
    """Build the layers, with steps 1, 2, 4 and so on."""
    return nn.ModuleList(
        DilatedLayer(members, size, 2**number, dropout, causal) for number in range(count)
    )


def reach(count: int, causal: bool) -> tuple[int, int]:
    """Return the number of tokens on each side that an output depends on after ``count`` layers."""
    side = 2**count - 1
    return (2 * side, 0) if causal else (side, side)
