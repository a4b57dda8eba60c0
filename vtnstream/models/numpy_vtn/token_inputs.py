"""Inputs of the temporal embedding in numpy; see :mod:`vtnstream.models.vtn.token_inputs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from vtnstream.types import FloatArray, IndexArray

_BAND_ROWS = 64
"""Tokens that are compared with their neighbours in one matrix product."""
_SMALLEST_NORM = np.float32(1e-12)


class TokenInputs:
    """Computes the inputs of a token from its feature and those of its neighbours.

    Args:
        kind: ``feature``, ``feature+difference`` or ``feature+difference+similarity``.
        num_features: D; further numbers of a feature vector (a thumbnail) are not read.
        reach: r, tokens to each side whose similarity is computed.
    """

    def __init__(self, kind: str, num_features: int, reach: int) -> None:
        self._num_features = num_features
        self._compares = kind != "feature"
        self._reach = reach if kind.endswith("similarity") else 0
        self._before = max(self._reach, 1 if self._compares else 0)

    def in_blocks(self, blocks: Iterable[FloatArray], indices: IndexArray) -> Iterator[FloatArray]:
        """Compute the inputs of a sequence in blocks, keeping the neighbours between them.

        Args:
            blocks: consecutive (T, D or more) of one sequence.
            indices: (N,) grid positions of the whole sequence.

        Yields:
            consecutive (T, E); their borders may differ from those of ``blocks``.
        """
        held: FloatArray | None = None
        first = done = read = 0  # first held row; rows returned; rows read
        for whole in blocks:
            block = whole[:, : self._num_features]
            held = block if held is None else np.concatenate((held, block))
            read += len(block)
            ready = read - self._reach
            if ready > done:
                yield self._rows(held, first, done, ready, indices)
                done = ready
                drop = max(done - self._before - first, 0)
                held = held[drop:].copy()
                first += drop
        if held is not None and read > done:
            yield self._rows(held, first, done, read, indices)

    def _rows(
        self, held: FloatArray, first: int, start: int, stop: int, indices: IndexArray
    ) -> FloatArray:
        """Return the inputs of tokens ``start`` to ``stop``; ``held`` begins with token
        ``first``."""
        made = self(held, indices[first : first + len(held)])
        return made[start - first : stop - first]

    def __call__(self, values: FloatArray, indices: IndexArray) -> FloatArray:
        """Compute the inputs of tokens with features (T, D) and grid positions (T,): (T, E)."""
        if not self._compares:
            return np.ascontiguousarray(values)
        count, size = values.shape
        made = np.empty((count, 3 * (size + self._reach)), np.float32)
        made[:, :size] = values
        steps = made[:, size : 2 * size]
        steps[:1] = 0
        np.subtract(values[1:], values[:-1], out=steps[1:])
        steps[1:][~_near(indices, 1)[:-1]] = 0
        np.abs(steps, out=made[:, 2 * size : 3 * size])
        if self._reach:
            self._similarities(values, indices, made[:, 3 * size :])
        return made

    def _similarities(self, values: FloatArray, indices: IndexArray, made: FloatArray) -> None:
        """Write the cosine similarities to later and earlier tokens and across each token: (T, D)
        to (T, 3 r). A missing neighbour is replaced by the token itself."""
        reach = self._reach
        length = np.sqrt(np.einsum("td,td->t", values, values))
        ahead = _ahead(values / np.maximum(length, _SMALLEST_NORM)[:, None], 2 * reach)
        near = np.stack([_near(indices, k) for k in range(1, 2 * reach + 1)], axis=-1)
        ahead[~near] = 1
        forward, backward, across = (made[:, n * reach : (n + 1) * reach] for n in range(3))
        forward[:] = ahead[:, :reach]
        for k in range(1, reach + 1):
            later = min(k, len(values))
            backward[:later, k - 1] = 1
            backward[later:, k - 1] = ahead[: len(values) - later, k - 1]
            after = near[:, k - 1]
            before = np.zeros_like(after)
            before[later:] = after[: len(values) - later]
            both = np.zeros(len(values), np.float32)
            both[later:] = ahead[: len(values) - later, 2 * k - 1]
            single = np.where(after, forward[:, k - 1], backward[:, k - 1])
            across[:, k - 1] = np.where(before & after, both, single)


def _near(indices: IndexArray, lag: int) -> NDArray[np.bool_]:
    """Return (T,): whether the token ``lag`` positions later exists, without a gap between."""
    near = np.zeros(len(indices), np.bool_)
    if lag < len(indices):
        near[:-lag] = indices[lag:] - indices[:-lag] == lag
    return near


def _ahead(unit: FloatArray, count: int) -> FloatArray:
    """Return the dot products of each row (T, D) with the ``count`` rows after it, (T, count), in
    bands of the full matrix; 0 where there is no such row."""
    length, size = unit.shape
    bands = -(-length // _BAND_ROWS)
    padded = np.zeros((bands * _BAND_ROWS + count, size), np.float32)
    padded[:length] = unit
    found = np.empty((bands, _BAND_ROWS, count), np.float32)
    for band in range(bands):
        start = band * _BAND_ROWS
        rows = padded[start : start + _BAND_ROWS]
        products = rows @ padded[start + 1 : start + _BAND_ROWS + count].T
        row, column = products.strides
        # The products of row n with the rows after it begin in column n.
        shape, strides = (_BAND_ROWS, count), (row + column, column)
        found[band] = np.lib.stride_tricks.as_strided(products, shape, strides)
    return found.reshape(-1, count)[:length]
