"""One Longformer layer in numpy (paper section 3.2); see
:mod:`vtnstream.models.vtn.longformer_layer`.

Tokens attend to a window and to [CLS], in blocks of queries with one span of keys each; [CLS]
attends to all tokens through a running softmax.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtnstream.models.numpy_vtn.functions import LayerNorm, Linear, Weights, gelu
from vtnstream.types import FloatArray, IndexArray

NORM_EPSILON = 1e-12
_BASE = 10_000.0
QUERIES = 32
"""Queries of one block."""

Rotation = NDArray[np.complex64]
"""Cosine and sine of the rotary angles as one complex number each, (T, 1, Dh / 2)."""


def rotation(indices: IndexArray, head_size: int) -> Rotation:
    """Return the rotary angles of tokens at grid positions (T,). Whole turns are taken off in
    float64, since float32 loses the phase in long videos."""
    steps = np.arange(head_size // 2, dtype=np.float64) / (head_size // 2)
    turns = indices.astype(np.float64)[:, None, None] * (_BASE**-steps / (2 * np.pi))
    turns -= np.rint(turns)
    angles = turns.astype(np.float32) * np.float32(2 * np.pi)
    made = np.empty(angles.shape, np.complex64)
    np.cos(angles, out=made.real)
    np.sin(angles, out=made.imag)
    return made


def _in_pairs(layer: Linear, num_heads: int) -> Linear:
    """Return the projection to queries or keys with the two numbers that are rotated together,
    n and n + Dh / 2 of each head, next to each other. Their products do not change."""
    size = layer.weight.shape[1]
    order = np.arange(size).reshape(num_heads, 2, -1).swapaxes(1, 2).reshape(-1)
    return Linear(np.ascontiguousarray(layer.weight[:, order]), layer.bias[order])


def _rotate(heads: FloatArray, by: Rotation) -> None:
    """Rotate queries or keys (T, H, Dh) in place, with their numbers in pairs."""
    pairs = heads.view(np.complex64)
    pairs *= by


class RunningSoftmax:
    """The attention of [CLS] to all tokens, block by block.

    No keys or values are computed for the tokens: the query is multiplied by the key projection
    once, and the value projection is applied to the weighted sums of states.

    Args:
        folded: (H, D), the scaled query of each head multiplied by the key projection.
        keeps_scores: whether the score of every token is kept for :meth:`weights`.
    """

    def __init__(self, folded: FloatArray, *, keeps_scores: bool) -> None:
        heads, size = folded.shape
        self._folded = folded
        self._scores: list[FloatArray] | None = [] if keeps_scores else None
        self._peak = np.full((heads, 1), -np.inf, np.float32)
        self._total = np.zeros((heads, 1), np.float32)
        self._sums = np.zeros((heads, size), np.float32)

    def update(self, states: FloatArray) -> None:
        """Add tokens (T, D), inputs of the layer."""
        if not len(states):
            return
        scores = self._folded @ states.T  # (H, T)
        if self._scores is not None:
            self._scores.append(scores)
        peak = np.maximum(self._peak, scores.max(-1, keepdims=True))
        fade = np.exp(self._peak - peak)
        weights = np.exp(scores - peak)
        self._total = self._total * fade + weights.sum(-1, keepdims=True)
        self._sums = self._sums * fade + weights @ states
        self._peak = peak

    def means(self) -> FloatArray:
        """Return the weighted means of the states (H, D)."""
        return self._sums / self._total

    def weights(self) -> FloatArray:
        """Return the attention weights (H, 1 + T), that of [CLS] first; they must be kept."""
        assert self._scores is not None
        scores = np.concatenate(self._scores, axis=-1)
        weights: FloatArray = np.exp(scores - self._peak) / self._total
        return weights


@dataclass(frozen=True, slots=True, eq=False)
class GlobalToken:
    """[CLS] as tokens of one layer see it.

    Attributes:
        scores: its score as a key, a linear layer (D) to (H).
        value: (H, 1, Dh).
    """

    scores: Linear
    value: FloatArray


class Layer:
    """One layer. States are (T, D) float32; several threads may call it at once.

    Args:
        weights: of the model.
        name: prefix of its weights.
        num_heads: H.
        window: w, even.
    """

    def __init__(self, weights: Weights, name: str, num_heads: int, window: int) -> None:
        own = f"{name}.attention.self"
        self._query = _in_pairs(Linear.of(weights, f"{own}.query"), num_heads)
        key = _in_pairs(Linear.of(weights, f"{own}.key"), num_heads)
        value = Linear.of(weights, f"{own}.value")
        self._key_value = Linear(
            np.concatenate((key.weight, value.weight), axis=1),
            np.concatenate((key.bias, value.bias)),
        )
        self._query_global = Linear.of(weights, f"{own}.query_global")
        self._key_global = weights[f"{own}.key_global.weight"]  # (D, D)
        self._value_global = Linear.of(weights, f"{own}.value_global")
        self._mixed = Linear.of(weights, f"{name}.attention.output.dense")
        self._mixed_norm = LayerNorm.of(weights, f"{name}.attention.output.LayerNorm", NORM_EPSILON)
        self._inner = Linear.of(weights, f"{name}.intermediate.dense")
        self._outer = Linear.of(weights, f"{name}.output.dense")
        self._outer_norm = LayerNorm.of(weights, f"{name}.output.LayerNorm", NORM_EPSILON)
        self.num_heads, self.reach = num_heads, window // 2
        self.size = len(self._key_global)
        self.head_size = self.size // num_heads
        self._scale = np.float32(self.head_size**-0.5)
        self._hidden = _hidden_keys(self.reach)

    # ----------------------------------------------------------------------------- [CLS]

    def begin_cls(self, cls: FloatArray, *, keeps_scores: bool = False) -> RunningSoftmax:
        """Start the attention of [CLS] (1, D), which attends to itself first."""
        query = self._query_global(cls).reshape(self.num_heads, 1, -1) * self._scale
        by_head = self._key_global.reshape(self.num_heads, self.head_size, -1)
        folded: FloatArray = np.matmul(query, by_head)
        running = RunningSoftmax(folded[:, 0], keeps_scores=keeps_scores)
        running.update(cls)
        return running

    def end_cls(self, running: RunningSoftmax, cls: FloatArray) -> FloatArray:
        """Return [CLS] (1, D) after the layer, from [CLS] before it."""
        weight = self._value_global.weight.reshape(self.size, self.num_heads, -1)
        mixed = np.einsum("hd,dhe->he", running.means(), weight).reshape(1, -1)
        mixed += self._value_global.bias
        return self.feed_forward(self._after_attention(mixed, cls))

    def global_token(self, cls: FloatArray) -> GlobalToken:
        """Return [CLS] (1, D) as the tokens of this layer see it. It has no position in time, so
        that neither it nor the queries for it are rotated."""
        key, value = np.split(self._key_value(cls)[0], 2)
        heads = (self.num_heads, self.head_size)
        by_head = self._query.weight.reshape(self.size, *heads)
        weight = np.einsum("dhe,he->dh", by_head, key.reshape(heads)) * self._scale
        bias = np.einsum("he,he->h", self._query.bias.reshape(heads), key.reshape(heads))
        scores = Linear(weight, bias * self._scale)
        return GlobalToken(scores, value.reshape(self.num_heads, 1, -1))

    # ---------------------------------------------------------------------------- tokens

    def keys_values(self, states: FloatArray, angles: Rotation) -> FloatArray:
        """Return keys and values (T, 2, H, Dh) of tokens, the keys rotated."""
        made = self._key_value(states).reshape(len(states), 2, self.num_heads, -1)
        _rotate(made[:, 0], angles)
        return made

    def attend(
        self,
        states: FloatArray,
        around: FloatArray,
        token: GlobalToken,
        angles: Rotation,
        known: tuple[int, int],
    ) -> FloatArray:
        """Run the attention half of the layer for one block.

        Args:
            states: (T, D) before the layer.
            around: keys and values from ``reach`` tokens before the block on, with at least
                ``reach`` tokens after its last whole block of :data:`QUERIES` queries; unknown
                ones are finite.
            token: [CLS] before the layer.
            angles: of the T tokens.
            known: first and last row of ``around`` that belong to the sequence (half-open).

        Returns:
            (T, D).
        """
        count, heads = len(states), self.num_heads
        blocks = -(-count // QUERIES)
        query = np.zeros((blocks * QUERIES, heads, self.head_size), np.float32)
        np.multiply(self._query(states).reshape(count, heads, -1), self._scale, out=query[:count])
        _rotate(query[:count], angles)
        spans = _spans(around, blocks, QUERIES + 2 * self.reach)  # (2, N, H, span, Dh)
        asking = query.reshape(blocks, QUERIES, heads, -1).transpose(0, 2, 1, 3)
        scores = asking @ spans[0].swapaxes(-1, -2)  # (N, H, QUERIES, span)
        scores += self._hidden
        _hide_unknown(scores, known)
        shared = np.zeros((blocks * QUERIES, heads), np.float32)
        shared[:count] = token.scores(states)
        shared = shared.reshape(blocks, QUERIES, heads).transpose(0, 2, 1)[..., None]
        peak = np.maximum(scores.max(-1, keepdims=True), shared)
        scores -= peak
        np.exp(scores, out=scores)
        weight = np.exp(shared - peak)
        total = scores.sum(-1, keepdims=True)
        total += weight
        attended = scores @ spans[1]  # (N, H, QUERIES, Dh)
        attended += weight * token.value
        attended /= total
        mixed = attended.transpose(0, 2, 1, 3).reshape(blocks * QUERIES, -1)[:count]
        return self._after_attention(mixed, states)

    def _after_attention(self, attended: FloatArray, states: FloatArray) -> FloatArray:
        made = self._mixed(attended)
        made += states
        return self._mixed_norm(made)

    def feed_forward(self, states: FloatArray) -> FloatArray:
        """Apply the feed-forward half to each token: (T, D) to (T, D)."""
        made = self._outer(gelu(self._inner(states)))
        made += states
        return self._outer_norm(made)


def _hidden_keys(reach: int) -> FloatArray:
    """Return what is added to the scores (QUERIES, span): -inf outside of the window."""
    ahead = np.arange(QUERIES + 2 * reach)[None, :] - np.arange(QUERIES)[:, None]
    inside = (ahead >= 0) & (ahead <= 2 * reach)
    return np.where(inside, 0, -np.inf).astype(np.float32)


def _hide_unknown(scores: FloatArray, known: tuple[int, int]) -> None:
    """Hide keys before the sequence and after it; few blocks at its ends have any."""
    first, stop = known
    span = scores.shape[-1]
    for number in range(min(len(scores), -(-first // QUERIES))):
        scores[number, ..., : max(first - number * QUERIES, 0)] = -np.inf
    for number in range(max(0, (stop - span) // QUERIES), len(scores)):
        scores[number, ..., max(stop - number * QUERIES, 0) :] = -np.inf


def _spans(around: FloatArray, blocks: int, span: int) -> FloatArray:
    """Return the keys and values of each block of queries without copying them: (S, 2, H, Dh) to
    (2, N, H, span, Dh)."""
    row, kind, head, item = around.strides
    shape = (2, blocks, around.shape[2], span, around.shape[3])
    strides = (kind, row * QUERIES, head, row, item)
    return np.lib.stride_tricks.as_strided(around, shape, strides, writeable=False)
