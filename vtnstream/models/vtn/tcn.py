"""The temporal encoder for few training videos: dilated convolutions refined in stages (MS-TCN,
Farha and Gall, CVPR 2019), with attention to the tokens around in each layer of the first stage if
``local_attention`` is set (as in ASFormer, Yi et al., BMVC 2021).

It is local, linear in the length and much smaller than attention layers. Without layers it is a
linear model of the token inputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vtnstream.config import TemporalConfig
from vtnstream.models.layers.dilated import (
    LocalAttention,
    MemberLinear,
    by_member,
    dilated_layers,
    reach,
)


def _mask_of(padding_mask: Tensor | None, like: Tensor) -> Tensor | None:
    """Convert a mask (B, T) bool to numbers (B, T, 1)."""
    return None if padding_mask is None else padding_mask[..., None].to(like.dtype)


class TcnEncoder(nn.Module):
    """The first stage, with the interface of
    :class:`~vtnstream.models.vtn.temporal.TemporalEncoder`.

    [CLS] is the sum of its learned token and the mean over all tokens.

    Args:
        config: with ``kind = "tcn"``.
        hidden_size: H, numbers per token of all members together.
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
            config.num_heads if config.local_attention else 0,
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that tokens are encoded in."""
        found = next(self.parameters(), None)
        return torch.float32 if found is None else found.dtype

    def in_precision(self, dtype: torch.dtype) -> TcnEncoder:
        """Return this encoder itself; it is too small for lower precision to save time."""
        return self

    def reset_parameters(self, positions: str = "sinusoidal") -> None:
        """Initialise as torch does for linear layers; there is no position table."""
        for module in self.modules():
            if isinstance(module, MemberLinear):
                module.reset_parameters()
        for module in self.modules():
            if isinstance(module, LocalAttention):
                module.reset_output()

    def states(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Map (B, T, H) to (B, T, H), 0 for padding (where ``padding_mask`` is False)."""
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
        """Encode tokens.

        Arguments and result are those of
        :meth:`vtnstream.models.vtn.temporal.TemporalEncoder.forward`. ``indices`` are ignored:
        consecutive tokens are neighbours.
        """
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
    """One refinement stage: from probabilities to new logits."""

    def __init__(self, config: TemporalConfig, size: int, num_classes: int) -> None:
        super().__init__()
        members = config.members
        self.projection = MemberLinear(members, num_classes, size)
        self.layers = dilated_layers(
            members, size, config.num_layers, config.dropout, config.causal
        )
        self.output = MemberLinear(members, size, num_classes)

    def forward(self, logits: Tensor, members: int, mask: Tensor | None) -> Tensor:
        """Map (B, T, M * K) to (B, T, M * K)."""
        parts = by_member(logits, members).softmax(-1).flatten(-2)
        states = self.projection(parts)
        if mask is not None:
            states = states * mask
        for layer in self.layers:
            states = layer(states, mask)
        made: Tensor = self.output(states)
        return made


class TcnHead(nn.Module):
    """The dense head of a ``tcn``: a linear layer on each token, then the refinement stages.

    Args:
        config: with ``kind = "tcn"``.
        hidden_size: H, numbers per token of all members together.
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
        """Return the logits of each stage in order: (B, T, H) to a list of (B, T, K)."""
        mask = _mask_of(padding_mask, tokens)
        logits: Tensor = self.first(tokens)  # (B, T, M * K)
        made = [logits]
        for stage in self.stages:
            logits = stage(logits, self.members, mask)
            made.append(logits)
        return [self._mean(logits) for logits in made]

    def forward(self, tokens: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Return the logits of the last stage: (B, T, H) or (T, H) to (B, T, K) or (T, K)."""
        if tokens.ndim == 2:
            return self.all_stages(tokens[None])[-1][0]
        return self.all_stages(tokens, padding_mask)[-1]

    def shift_logits(self, shift: Tensor) -> None:
        """Add (K,) to the logits of the last stage of every member, for good."""
        last = self.first
        for stage in self.stages:
            assert isinstance(stage, _Stage)
            last = stage.output
        with torch.no_grad():
            last.bias.add_(shift.to(last.bias))

    def _mean(self, logits: Tensor) -> Tensor:
        """Return the logarithm of the mean of the members' probabilities: (B, T, M * K) to (B,
        T, K)."""
        if self.members == 1:
            return logits
        parts = by_member(logits, self.members).log_softmax(-1)  # (B, T, M, K)
        return parts.logsumexp(-2) - math.log(self.members)


def tcn_reach(config: TemporalConfig) -> tuple[int, int]:
    """Return the number of embedded tokens on each side that a token's result depends on, head
    included."""
    first = reach(config.num_layers, config.causal, config.local_attention)
    later = reach(config.num_layers, config.causal)
    before, after = (a + b * (config.num_stages - 1) for a, b in zip(first, later, strict=True))
    return before, after
