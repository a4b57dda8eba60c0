"""Inputs of the temporal embedding: the feature of each token, and its difference to neighbours
(config ``temporal.token_inputs``).

Features are those of single frames, and attention does not learn from a short training to compare
t with t - 1 (finding cuts: F1 .14 without the difference, .80 with it). Stored features do not
change; the comparison is computed here, from normalised features, in float32.

A neighbour is the token ``k`` grid positions away. If there is none (at the ends, in a gap or
across one, in padding), the token itself takes its place: difference 0, similarity 1. A gap in a
video is not a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtnstream.types import IndexArray

_BAND_ROWS = 64
"""Tokens that are compared with their neighbours in one matrix product."""


class TokenInputs(nn.Module):
    """Compute the inputs of a token from its feature and those of its neighbours.

    ``feature``: f_t. ``feature+difference``: f_t, d_t = f_t - f_(t-1) and its absolute value.
    ``feature+difference+similarity``: the same with cosine similarities of f_t to f_(t+1) ...
    f_(t+r) and to f_(t-1) ... f_(t-r), and across t, of f_(t-k) to f_(t+k).
    ``feature+context``: f_t, and the means of the ``context`` tokens before and after it.

    Args:
        kind: one of the above.
        num_features: D; further numbers of a feature vector (a thumbnail) are not read.
        reach: r, tokens to each side.
        context: tokens to each side of ``feature+context``.

    Attributes:
        size: numbers a token, D or 3 D or 3 D + 3 r.
        before: neighbours needed before a token.
        after: neighbours needed after it.
    """

    def __init__(self, kind: str, num_features: int, reach: int, context: int = 4) -> None:
        super().__init__()
        self.num_features = num_features
        self.compares = kind != "feature"
        self.reach = reach if kind == "feature+difference+similarity" else 0
        self.size = num_features * (3 if self.compares else 1) + 3 * self.reach
        self.context = context if kind == "feature+context" else 0
        self.before = max(self.reach, self.context, 1 if self.compares else 0)
        self.after = max(self.reach, self.context)

    def forward(
        self, features: Tensor, indices: Tensor, padding_mask: Tensor | None = None
    ) -> Tensor:
        """Compute the inputs of each token.

        Args:
            features: (B, T, D or more) normalised.
            indices: (B, T) int64 grid positions, increasing.
            padding_mask: (B, T) bool, True where a token is real.

        Returns:
            (B, T, size), in the dtype of ``features``.
        """
        features = features[..., : self.num_features]
        if not self.compares:
            return features
        if not features.shape[1]:
            return features.new_empty(features.shape[0], 0, self.size)
        if padding_mask is not None:  # too far away to be a neighbour
            indices = indices.masked_fill(~padding_mask, torch.iinfo(torch.int64).min // 2)
        values = features.float()
        if self.context:
            return self._with_context(values, indices).to(features.dtype)
        known = _near(indices, 1)  # (B, T) whether t + 1 exists
        steps = F.pad(values[:, 1:] - values[:, :-1], (0, 0, 1, 0))  # (B, T, D)
        steps = steps.masked_fill(~_later(known, 1)[..., None], 0.0)
        parts = [values, steps, steps.abs()]
        if self.reach:
            parts.append(self._similarities(values, indices))
        return torch.cat(parts, dim=-1).to(features.dtype)

    def _with_context(self, values: Tensor, indices: Tensor) -> Tensor:
        """Append to each feature the means of its neighbours on each side: (B, T, D) to (B, T, 3
        D).

        A token without neighbours on a side takes their place.
        """
        before, after = torch.zeros_like(values), torch.zeros_like(values)
        count_before = torch.zeros_like(values[..., :1])  # (B, T, 1)
        count_after = torch.zeros_like(count_before)
        for lag in range(1, self.context + 1):
            near = _near(indices, lag).to(values.dtype)[..., None]  # (B, T, 1) t + lag exists
            ahead = F.pad(values[:, lag:], (0, 0, 0, min(lag, values.shape[1])))
            after, count_after = after + near * ahead, count_after + near
            behind = F.pad(near * values, (0, 0, lag, 0))[:, : values.shape[1]]
            before = before + behind
            count_before = count_before + F.pad(near, (0, 0, lag, 0))[:, : values.shape[1]]
        means = [
            torch.where(count > 0, total / count.clamp(min=1), values)
            for total, count in ((before, count_before), (after, count_after))
        ]
        return torch.cat((values, *means), dim=-1)

    def _similarities(self, values: Tensor, indices: Tensor) -> Tensor:
        """Return the cosine similarities to later and earlier tokens and across each token: (B,
        T, D) to (B, T, 3 r)."""
        reach = self.reach
        ahead = _ahead(F.normalize(values, dim=-1), 2 * reach)  # (B, T, 2 r)
        near = torch.stack([_near(indices, k) for k in range(1, 2 * reach + 1)], -1)
        ahead = torch.where(near, ahead, 1.0)
        forward = ahead[..., :reach]
        backward = [_later(forward[..., k - 1], k, 1.0) for k in range(1, reach + 1)]
        across = []
        for k in range(1, reach + 1):
            both = _later(ahead[..., 2 * k - 1], k, 1.0)
            # if one neighbour is missing, the token itself takes its place
            has_before, has_after = _later(near[..., k - 1], k), near[..., k - 1]
            single = torch.where(has_after, forward[..., k - 1], backward[k - 1])
            across.append(torch.where(has_before & has_after, both, single))
        return torch.cat((forward, torch.stack(backward + across, -1)), -1)

    def in_blocks(self, blocks: Iterable[Tensor], indices: IndexArray) -> Iterator[Tensor]:
        """Compute the inputs of a sequence in blocks, keeping the neighbours between them.

        Args:
            blocks: consecutive (T, D) of one sequence, normalised.
            indices: (N,) grid positions of the whole sequence.

        Yields:
            consecutive (T, size); their borders may differ from those of ``blocks``.
        """
        held: Tensor | None = None
        first = done = made = 0  # first held row; rows returned; rows read
        for block in blocks:
            held = block if held is None else torch.cat((held, block))
            made += len(block)
            ready = made - self.after
            if ready > done:
                yield self._rows(held, first, done, ready, indices)
                done = ready
                drop = max(done - self.before - first, 0)
                held = held[drop:].clone() if first + drop < made else None
                first += drop
        if held is not None and made > done:
            yield self._rows(held, first, done, made, indices)

    def _rows(self, held: Tensor, first: int, start: int, stop: int, indices: IndexArray) -> Tensor:
        """Return the inputs of tokens ``start`` to ``stop``; ``held`` begins with token
        ``first``."""
        places = torch.from_numpy(np.ascontiguousarray(indices[first : first + len(held)]))
        made: Tensor = self(held[None], places.to(held.device)[None])[0]
        return made[start - first : stop - first]


def _near(indices: Tensor, lag: int) -> Tensor:
    """Return (B, T) bool: whether the token ``lag`` positions later exists, without a gap
    between."""
    near = indices[:, lag:] - indices[:, :-lag] == lag
    return F.pad(near, (0, indices.shape[1] - near.shape[1]))


def _later(values: Tensor, lag: int, fill: float = 0.0) -> Tensor:
    """Shift (B, T) by ``lag`` tokens to later positions."""
    return F.pad(values, (lag, 0), value=fill)[:, : values.shape[1]]


def _ahead(unit: Tensor, count: int) -> Tensor:
    """Return the dot products of each row with the ``count`` rows after it, in bands of the full
    matrix.

    Args:
        unit: (B, T, D).
        count: rows to look ahead.

    Returns:
        (B, T, count); undefined where there is no such row.
    """
    batch, length, size = unit.shape
    num_bands = -(-length // _BAND_ROWS)
    padded = F.pad(unit, (0, 0, 0, num_bands * _BAND_ROWS + count - length))
    spans = padded.unfold(1, _BAND_ROWS + count, _BAND_ROWS)  # (B, N, D, span)
    rows = padded[:, : num_bands * _BAND_ROWS].reshape(batch, num_bands, _BAND_ROWS, size)
    products = rows @ spans  # (B, N, rows, span)
    row = torch.arange(_BAND_ROWS, device=unit.device)[:, None]
    columns = row + torch.arange(1, count + 1, device=unit.device)  # (rows, count)
    band = products.gather(-1, columns.expand(batch, num_bands, -1, -1))
    return band.flatten(1, 2)[:, :length]
