"""Self-attention of a Longformer layer: a sliding window for every token, everything for
[CLS] (paper section 3.2), under the parameter names of ``transformers``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtnstream.errors import ModelError
from vtnstream.models.layers.full_attention import full_attention
from vtnstream.models.layers.overwriting import may_overwrite
from vtnstream.models.layers.positions import Rotation, rotate
from vtnstream.models.layers.sliding_window import sliding_window_attention

LAYER_NORM_EPS = 1e-12
"""``transformers``' default for Longformer, and so the reference's."""


class KeyValue(NamedTuple):
    """Keys and values of some tokens, each (B, S, H, Dh)."""

    key: Tensor
    value: Tensor


class GlobalSoftmax:
    """[CLS]'s attention to all tokens as a running softmax over blocks of them.

    No token needs a key or value of its own: the query is folded through ``key_global``
    (H vectors of size D), and ``value_global`` is applied to the H weighted sums. Scores
    lose ``query . bias`` of the keys, the same for every token, which a softmax ignores.

    One object serves one layer; it also carries gradients when fed in one go.
    """

    def __init__(self, folded: Tensor, dropout: float = 0.0, *, keep_weights: bool = False) -> None:
        """
        Args:
            folded: (B, G, H, D) float32, the scaled query of each global token and head.
            dropout: probability on the attention weights.
            keep_weights: also keep the score of every token, for :meth:`weights`.
        """
        batch, num_globals, heads, size = folded.shape
        self.folded = folded
        self.dropout = dropout
        self.scores: list[Tensor] | None = [] if keep_weights else None
        self.peak = folded.new_full((batch, num_globals, heads, 1), float("-inf")).float()
        self.total = folded.new_zeros((batch, num_globals, heads, 1)).float()
        self.kept = self.total
        self.sums = folded.new_zeros((batch, num_globals, heads, size)).float()

    def update(self, states: Tensor, valid: Tensor | None = None) -> None:
        """Take in some tokens; the first call must hold at least one real token in each row.

        Args:
            states: (B, T, D) layer inputs.
            valid: (B, T) bool, False for padding.
        """
        if states.shape[1] == 0:
            return
        states = states.float()  # one row against all tokens: its precision costs nothing
        flat = self.folded.flatten(1, 2)  # (B, G*H, D)
        scores = torch.matmul(flat, states.transpose(1, 2)).float()  # (B, G*H, T)
        scores = scores.view(*self.folded.shape[:3], -1)  # (B, G, H, T)
        if valid is not None:
            scores = scores.masked_fill(~valid[:, None, None, :], float("-inf"))
        if self.scores is not None:
            self.scores.append(scores)
        peak = torch.maximum(self.peak, scores.detach().amax(-1, keepdim=True))
        fade = torch.exp(self.peak - peak)
        weights = torch.exp(scores - peak)  # (B, G, H, T)
        self.total = self.total * fade + weights.sum(-1, keepdim=True)
        weights = F.dropout(weights, self.dropout, training=self.dropout > 0)
        self.kept = self.kept * fade + weights.sum(-1, keepdim=True)
        sums = torch.matmul(weights.flatten(1, 2), states)  # (B, G*H, D)
        self.sums = self.sums * fade + sums.view(self.folded.shape).float()
        self.peak = peak

    def result(self) -> tuple[Tensor, Tensor]:
        """Weighted means of the states (B, G, H, D) and the weights' sums (B, G, H, 1),
        which are 1 but for dropout."""
        return self.sums / self.total, self.kept / self.total

    def weights(self) -> Tensor:
        """The attention weights themselves, without dropout: (B, G, H, G + T), the global
        tokens' own first."""
        if self.scores is None:
            raise RuntimeError("weights were not kept: begin with keep_weights=True")
        return torch.exp(torch.cat(self.scores, dim=-1) - self.peak) / self.total


class LongformerSelfAttention(nn.Module):
    """The six projections and how they are used, by the plain pass and by the blocks of
    :mod:`vtnstream.models.long_sequence.streaming` alike.

    Args:
        hidden_size: D.
        num_heads: H, which divides D.
        window: w; None lets every token see every other, and global tokens use the ordinary
            projections then, as in BERT.
        dilation: tokens in a step of the window, for all heads or for each.
        dropout: probability on attention weights.
        global_attention: whether global tokens see the others and are seen.
        uniform: every token that may be seen has the same weight (paper figure 4).

    Raises:
        ModelError: the heads do not divide D.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        window: int | None,
        *,
        dilation: Sequence[int] = (1,),
        dropout: float = 0.0,
        global_attention: bool = True,
        uniform: bool = False,
    ) -> None:
        super().__init__()
        if hidden_size % num_heads:
            raise ModelError(
                f"hidden size {hidden_size} cannot be split into {num_heads} heads: "
                "choose temporal.num_heads that divides it"
            )
        self.num_heads = num_heads
        self.head_dim = hidden_size // num_heads
        self.window = window
        self.dilation = tuple(dilation)
        self.dropout = dropout
        self.global_attention = global_attention
        self.uniform = uniform
        self.query = nn.Linear(hidden_size, hidden_size)
        self.key = nn.Linear(hidden_size, hidden_size)
        self.value = nn.Linear(hidden_size, hidden_size)
        if window is not None:
            self.query_global = nn.Linear(hidden_size, hidden_size)
            self.key_global = nn.Linear(hidden_size, hidden_size)
            self.value_global = nn.Linear(hidden_size, hidden_size)

    def reach(self, num_tokens: int) -> int:
        """How far to each side a token of a sequence sees."""
        if self.window is None:
            return num_tokens
        return self.window // 2 * max(self.dilation)

    @property
    def _of_globals(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """Query, key and value projections of the global tokens' look at all."""
        if self.window is None:
            return self.query, self.key, self.value
        return self.query_global, self.key_global, self.value_global

    @property
    def _dropout(self) -> float:
        return self.dropout if self.training else 0.0

    def _heads(self, states: Tensor) -> Tensor:
        return states.view(*states.shape[:-1], self.num_heads, self.head_dim)  # (B, T, H, Dh)

    def _by_head(self, weight: Tensor) -> Tensor:
        return weight.view(self.num_heads, -1, weight.shape[-1])  # (H, Dh, D)

    def keys_values(self, states: Tensor, turn: Rotation | None = None) -> KeyValue:
        """Ordinary keys and values of ``states`` (B, S, D), the keys turned by rotary
        positions where the model has them."""
        key = self._heads(self.key(states))  # (B, S, H, Dh)
        if turn is not None:
            key = rotate(key, turn)
        return KeyValue(key, self._heads(self.value(states)))

    def local(
        self,
        states: Tensor,
        around: KeyValue,
        global_states: Tensor,
        *,
        turn: Rotation | None = None,
        valid: Tensor | None = None,
        offset: int = 0,
    ) -> Tensor:
        """What each token takes from its window and from the global tokens.

        Args:
            states: (B, T, D) the tokens that ask.
            around: keys and values (B, S, ...) of them and of their neighbours.
            global_states: (B, G, D) [CLS], in any precision; it has no place in time and is
                not turned.
            turn: rotation of the T tokens.
            valid: (B, S) bool, False for padding.
            offset: where in ``around`` the first token stands.

        Returns:
            (B, T, D), before the output projection.
        """
        query = self._heads(self.query(states))  # (B, T, H, Dh)
        if self.uniform:
            query = torch.zeros_like(query)
        shared = None
        if self.global_attention:
            shared = self.keys_values(global_states.to(states.dtype))
        attend: Callable[..., Tensor] = full_attention
        if self.window is not None:
            attend = partial(
                sliding_window_attention,
                window=self.window,
                offset=offset,
                dilation=self.dilation,
            )
        attended = attend(
            query if turn is None else rotate(query, turn),
            around.key,
            around.value,
            valid=valid,
            global_key=shared.key if shared else None,
            global_value=shared.value if shared else None,
            global_query=None if turn is None else query,
            dropout=self._dropout,
        )
        return attended.flatten(2)  # (B, T, D)

    def begin_global(self, global_states: Tensor, *, keep_weights: bool = False) -> GlobalSoftmax:
        """Start [CLS]'s attention: (B, G, D) -> a running softmax that has seen the global
        tokens themselves."""
        ask, key, _ = self._of_globals
        query = self._heads(ask(global_states)).float()  # (B, G, H, Dh)
        query = query * (0.0 if self.uniform else query.shape[-1] ** -0.5)
        weight = self._by_head(key.weight).float()  # (H, Dh, D)
        folded = torch.einsum("bghe,hed->bghd", query, weight)
        running = GlobalSoftmax(folded, self._dropout, keep_weights=keep_weights)
        running.update(global_states)
        return running

    def end_global(self, running: GlobalSoftmax) -> Tensor:
        """The global tokens' attention output (B, G, D), before the output projection."""
        means, kept = running.result()
        value = self._of_globals[2]
        weight = self._by_head(value.weight).float()  # (H, Dh, D)
        bias = value.bias.view(self.num_heads, -1).float()  # (H, Dh)
        mixed = torch.einsum("bghd,hed->bghe", means, weight) + kept * bias
        return mixed.flatten(2).to(value.weight.dtype)  # (B, G, D)


def add_residual(branch: Tensor, states: Tensor) -> Tensor:
    """``branch + states``, in the memory of ``branch`` where that is allowed."""
    if may_overwrite() and branch.dtype == states.dtype:
        return branch.add_(states)
    return branch + states


class AttentionOutput(nn.Module):
    """Output projection, dropout, residual, LayerNorm (post-norm, as BERT)."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, attended: Tensor, states: Tensor) -> Tensor:
        """(B, T, D) attended and the layer's input (B, T, D) -> (B, T, D)."""
        result: Tensor = self.LayerNorm(add_residual(self.dropout(self.dense(attended)), states))
        return result


class LongformerAttention(nn.Module):
    """Self-attention and its output, named ``self`` and ``output`` as in ``transformers``."""

    def __init__(self, attention: LongformerSelfAttention, output: AttentionOutput) -> None:
        super().__init__()
        self.self = attention
        self.output = output
