"""Feature vectors with their times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vtnstream.types.arrays import FloatArray, check_shape
from vtnstream.types.frames import TokenTimes


class FeatureSequence(Protocol):
    """T feature vectors of D numbers with their times: in memory or on disk."""

    @property
    def times(self) -> TokenTimes: ...

    @property
    def num_features(self) -> int:
        """D, the numbers of a feature vector."""
        ...

    def blocks(self, size: int) -> Iterator[FloatArray]:
        """Return the features in order, in float32 blocks of at most (size, D)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """A :class:`FeatureSequence` in memory: ``values`` (T, D) float32 and ``times``."""

    values: FloatArray
    times: TokenTimes

    def __post_init__(self) -> None:
        check_shape("values", self.values, np.float32, len(self.times), None)

    def __repr__(self) -> str:
        return f"Features({self.values.shape}, {self.times!r})"

    @property
    def num_features(self) -> int:
        return int(self.values.shape[1])

    def blocks(self, size: int) -> Iterator[FloatArray]:
        for start in range(0, len(self.values), size):
            yield self.values[start : start + size]
