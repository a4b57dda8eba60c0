"""Self-attention of a Longformer layer (paper section 3.2).

Every token attends to a sliding window and to [CLS]; [CLS] attends to all tokens. Parameters have
the names that ``transformers`` uses.
"""

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
"""The default of ``transformers`` for Longformer, which the reference implementation uses."""


class KeyValue(NamedTuple):
    """Keys and values of S tokens, each (B, S, H, Dh)."""

    key: Tensor
    value: Tensor


class GlobalSoftmax:
    """The attention of [CLS] to all tokens, computed block by block as a running softmax.

    No keys or values are computed for the tokens. The query is multiplied by ``key_global`` once
    (H vectors of size D), and ``value_global`` is applied to the H weighted sums of states. The
    scores omit ``query . bias`` of the keys, which is the same for every token and cancels in the
    softmax.

    One object belongs to one layer. Gradients flow through it if all tokens come in one call.
    """

    def __init__(self, folded: Tensor, dropout: float = 0.0, *, keep_weights: bool = False) -> None:
        """Start without tokens.

        Args:
            folded: (B, G, H, D) float32, the scaled query of each global token and head, multiplied
                by the key projection.
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
        """Add tokens; in the first call, each row needs at least one that is not padding.

        Args:
            states: (B, T, D) inputs of the layer.
            valid: (B, T) bool, False for padding.
        """
        if states.shape[1] == 0:
            return
        states = states.float()  # one query against all tokens: full precision costs little
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
        """Return the weighted means of the states (B, G, H, D) and the sums of the weights (B,
        G, H, 1), which are 1 without dropout."""
        return self.sums / self.total, self.kept / self.total

    def weights(self) -> Tensor:
        """Return the attention weights without dropout: (B, G, H, G + T), those of the global
        tokens first.

        Raises:
            RuntimeError: they were not kept.
        """
        if self.scores is None:
            raise RuntimeError("weights were not kept: begin with keep_weights=True")
        return torch.exp(torch.cat(self.scores, dim=-1) - self.peak) / self.total


class LongformerSelfAttention(nn.Module):
    """The six projections of a Longformer layer.

    Both the plain pass and the pass in blocks (:mod:`vtnstream.models.long_sequence.streaming`)
    call its methods.

    Args:
        hidden_size: D.
        num_heads: H, which divides D.
        window: w, the number of tokens in the window. With None every token attends to all others,
            and global tokens use the ordinary projections, as in BERT.
        dilation: tokens from one key of the window to the next, for all heads or for each head.
        dropout: probability on the attention weights.
        global_attention: whether global tokens attend to the others and are attended to.
        uniform: give all keys of a query the same weight (paper figure 4).

    Raises:
        ModelError: H does not divide D.
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
        """Return the number of tokens on each side that a token of a sequence attends to."""
        if self.window is None:
            return num_tokens
        return self.window // 2 * max(self.dilation)

    @property
    def _of_globals(self) -> tuple[nn.Linear, nn.Linear, nn.Linear]:
        """Query, key and value projections for the attention of the global tokens."""
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

    def keys_values(self, states: Tensor, angles: Rotation | None = None) -> KeyValue:
        """Return the ordinary keys and values of ``states`` (B, S, D).

        Args:
            states: (B, S, D) inputs of the layer.
            angles: rotary angles of the S tokens, applied to the keys.
        """
        key = self._heads(self.key(states))  # (B, S, H, Dh)
        if angles is not None:
            key = rotate(key, angles)
        return KeyValue(key, self._heads(self.value(states)))

    def local(
        self,
        states: Tensor,
        around: KeyValue,
        global_states: Tensor,
        *,
        angles: Rotation | None = None,
        valid: Tensor | None = None,
        offset: int = 0,
    ) -> Tensor:
        """Return the attention of each token to its window and to the global tokens.

        Args:
            states: (B, T, D) the tokens whose output is computed.
            around: keys and values (B, S, H, Dh) of these tokens and of their neighbours.
            global_states: (B, G, D) the global tokens, in any precision. They have no position in
                time and are not rotated.
            angles: rotary angles of the T tokens.
            valid: (B, S) bool, False for padding.
            offset: index of the first of the T tokens in ``around``.

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
            query if angles is None else rotate(query, angles),
            around.key,
            around.value,
            valid=valid,
            global_key=shared.key if shared else None,
            global_value=shared.value if shared else None,
            global_query=None if angles is None else query,
            dropout=self._dropout,
        )
        return attended.flatten(2)  # (B, T, D)

    def begin_global(self, global_states: Tensor, *, keep_weights: bool = False) -> GlobalSoftmax:
        """Start the attention of the global tokens.

        Args:
            global_states: (B, G, D).
            keep_weights: also keep the attention weights.

        Returns:
            a running softmax that the global tokens themselves have been added to.
        """
        ask, key, _ = self._of_globals
        query = self._heads(ask(global_states)).float()  # (B, G, H, Dh)
        query = query * (0.0 if self.uniform else query.shape[-1] ** -0.5)
        weight = self._by_head(key.weight).float()  # (H, Dh, D)
        folded = torch.einsum("bghe,hed->bghd", query, weight)
        running = GlobalSoftmax(folded, self._dropout, keep_weights=keep_weights)
        running.update(global_states)
        return running

    def end_global(self, running: GlobalSoftmax) -> Tensor:
        """Return the attention output of the global tokens: (B, G, D), before the output
        projection."""
        means, kept = running.result()
        value = self._of_globals[2]
        weight = self._by_head(value.weight).float()  # (H, Dh, D)
        bias = value.bias.view(self.num_heads, -1).float()  # (H, Dh)
        mixed = torch.einsum("bghd,hed->bghe", means, weight) + kept * bias
        return mixed.flatten(2).to(value.weight.dtype)  # (B, G, D)


def add_residual(branch: Tensor, states: Tensor) -> Tensor:
    """Return ``branch + states``; ``branch`` is overwritten where that is allowed."""
    if may_overwrite() and branch.dtype == states.dtype:
        return branch.add_(states)
    return branch + states


class AttentionOutput(nn.Module):
    """Output projection, dropout, residual and LayerNorm (post-norm, as in BERT)."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=LAYER_NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, attended: Tensor, states: Tensor) -> Tensor:
        """Map the attention output (B, T, D) and the input of the layer (B, T, D) to (B, T, D)."""
        result: Tensor = self.LayerNorm(add_residual(self.dropout(self.dense(attended)), states))
        return result


class LongformerAttention(nn.Module):
    """Self-attention and its output layer, named ``self`` and ``output`` as in ``transformers``."""

    def __init__(self, attention: LongformerSelfAttention, output: AttentionOutput) -> None:
        super().__init__()
        self.self = attention
        self.output = output
