"""The temporal encoder for few videos: dilated convolutions, refined in stages (MS-TCN, Farha
and Gall, CVPR 2019). It is local, linear in the length, and far smaller than attention layers.

With no layer it is a linear model of the token inputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vtnstream.config import TemporalConfig
from vtnstream.models.layers.dilated import MemberLinear, by_member, dilated_layers, reach


def _mask_of(padding_mask: Tensor | None, like: Tensor) -> Tensor | None:
    """(B, T) bool as (B, T, 1) numbers."""
    return None if padding_mask is None else padding_mask[..., None].to(like.dtype)


class TcnEncoder(nn.Module):
    """The first stage under the interface of
    :class:`~vtnstream.models.vtn.temporal.TemporalEncoder`. [CLS] is its learned token and the
    mean over all tokens.

    Args:
        config: with ``kind = "tcn"``.
        hidden_size: of a token, all members together.
    """

    def __init__(self, config: TemporalConfig, hidden_size: int) -> None:
        super().__init__()
        self.config = config
        self.hidden_size = hidden_size
        self.layers = dilated_layers(
            config.members,
            hidden_size // config.members,
            config.num_layers,
            config.dropout,
            config.causal,
        )

    @property
    def dtype(self) -> torch.dtype:
        """What tokens are worked in."""
        found = next(self.parameters(), None)
        return torch.float32 if found is None else found.dtype

    def in_precision(self, dtype: torch.dtype) -> TcnEncoder:
        """This encoder itself: it is too small for less precision to save time."""
        return self

    def reset_parameters(self, positions: str = "sinusoidal") -> None:
        """As torch starts linear layers; there is no position table."""
        for module in self.modules():
            if isinstance(module, MemberLinear):
                module.reset_parameters()

    def states(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, T, H) -> (B, T, H); padding, where ``padding_mask`` is False, gives 0."""
        mask = _mask_of(padding_mask, tokens)
        states = tokens if mask is None else tokens * mask
        for layer in self.layers:
            states = layer(states, mask)
        return states

    def forward(
        self,
        tokens: Tensor,
        cls: Tensor,
        *,
        padding_mask: Tensor | None = None,
        indices: Tensor | None = None,
        cls_only: bool = False,
    ) -> Tensor:
        """As :meth:`vtnstream.models.vtn.temporal.TemporalEncoder.forward`; ``indices`` change
        nothing, as tokens are neighbours in their order."""
        states = self.states(tokens, padding_mask)  # (B, T, H)
        if padding_mask is None:
            total, count = states.sum(1, keepdim=True), states.shape[1]
            mean = total / max(count, 1)  # (B, 1, H)
        else:
            real = padding_mask.sum(1).clamp(min=1)[:, None, None]  # (B, 1, 1)
            mean = states.sum(1, keepdim=True) / real
        first = cls[:, :1] + mean
        return first if cls_only else torch.cat((first, states), dim=1)


class _Stage(nn.Module):
    """One refinement: probabilities in, better logits out."""

    def __init__(self, config: TemporalConfig, size: int, num_classes: int) -> None:
        super().__init__()
        members = config.members
        self.projection = MemberLinear(members, num_classes, size)
        self.layers = dilated_layers(
            members, size, config.num_layers, config.dropout, config.causal
        )
        self.output = MemberLinear(members, size, num_classes)

    def forward(self, logits: Tensor, members: int, mask: Tensor | None) -> Tensor:
        """(B, T, M * K) -> (B, T, M * K)."""
        parts = by_member(logits, members).softmax(-1).flatten(-2)
        states = self.projection(parts)
        if mask is not None:
            states = states * mask
        for layer in self.layers:
            states = layer(states, mask)
        made: Tensor = self.output(states)
        return made


class TcnHead(nn.Module):
    """The dense head of a ``tcn``: a linear layer on the encoder's tokens, then the stages that
    refine its answer.

    Args:
        config: with ``kind = "tcn"``.
        hidden_size: of a token, all members together.
        num_classes: K.
    """

    def __init__(self, config: TemporalConfig, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.members, self.out_features = config.members, num_classes
        size = hidden_size // config.members
        self.first = MemberLinear(config.members, size, num_classes)
        self.stages = nn.ModuleList(
            _Stage(config, size, num_classes) for _ in range(config.num_stages - 1)
        )

    def all_stages(self, tokens: Tensor, padding_mask: Tensor | None = None) -> list[Tensor]:
        """Logits of each stage, (B, T, H) -> (B, T, K), the last one's at the end."""
        mask = _mask_of(padding_mask, tokens)
        logits: Tensor = self.first(tokens)  # (B, T, M * K)
        made = [logits]
        for stage in self.stages:
            logits = stage(logits, self.members, mask)
            made.append(logits)
        return [self._mean(logits) for logits in made]

    def forward(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """The last stage's logits: (B, T, H) or (T, H) -> (B, T, K) or (T, K)."""
        if tokens.ndim == 2:
            return self.all_stages(tokens[None])[-1][0]
        return self.all_stages(tokens, padding_mask)[-1]

    def _mean(self, logits: Tensor) -> Tensor:
        """The logarithm of the mean of the members' probabilities."""
        if self.members == 1:
            return logits
        parts = by_member(logits, self.members).log_softmax(-1)  # (B, T, M, K)
        return parts.logsumexp(-2) - math.log(self.members)


def tcn_reach(config: TemporalConfig) -> tuple[int, int]:
    """Embedded tokens before and after one that its answer depends on, head included."""
    before, after = reach(config.num_layers, config.causal)
    return before * config.num_stages, after * config.num_stages
