"""A ring buffer on disk for the last features of a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vtnstream.errors import StoreError
from vtnstream.types import FloatArray, TokenTimes

_PART_TOKENS = 512


class FeatureRing:
    """A :class:`vtnstream.types.FeatureSequence` of the last tokens of a stream, in bounded memory
    and disk space.

    Args:
        directory: directory of its files. Old files are removed; the caller removes the rest.
        num_features: D.
        keep_seconds: duration that is kept, plus up to one file of 512 tokens.
    """

    def __init__(self, directory: Path, num_features: int, keep_seconds: float) -> None:
        self._directory = directory
        self._num_features = num_features
        self._keep = keep_seconds
        self._files: deque[tuple[Path, TokenTimes]] = deque()
        self._latest: list[tuple[FloatArray, TokenTimes]] = []
        self._written = 0

    def append(self, values: FloatArray, times: TokenTimes) -> None:
        """Append the next tokens.

        Raises:
            StoreError: the features cannot be written.
        """
        if not len(times):
            return
        self._latest.append((values, times))
        if sum(len(part) for _, part in self._latest) >= _PART_TOKENS:
            self._write()
        oldest = float(times.end_seconds[-1]) - self._keep
        while self._files and self._files[0][1].end_seconds[-1] < oldest:
            self._files.popleft()[0].unlink(missing_ok=True)

    def _write(self) -> None:
        path = self._directory / f"{self._written:08d}.npy"
        try:
            np.save(path, np.concatenate([values for values, _ in self._latest]))
        except OSError as error:
            raise StoreError(
                f"{path}: features cannot be stored ({error.strerror or error}): free space "
                "there or choose another directory with --cache-dir"
            ) from error
        times = TokenTimes.concatenate([times for _, times in self._latest])
        self._files.append((path, times))
        self._latest = []
        self._written += 1

    @property
    def times(self) -> TokenTimes:
        latest = [times for _, times in self._latest]
        return TokenTimes.concatenate([*(times for _, times in self._files), *latest])

    @property
    def num_features(self) -> int:
        return self._num_features

    def blocks(self, size: int) -> Iterator[FloatArray]:
        """Yield blocks of at most (size, D)."""
        for path, _ in self._files:
            values = np.load(path, allow_pickle=False)
            for start in range(0, len(values), size):
                yield values[start : start + size]
        for values, _ in self._latest:
            for start in range(0, len(values), size):
                yield values[start : start + size]
