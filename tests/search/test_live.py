"""Labels on a stream: each score rests on the frames so far, however they are divided."""

from __future__ import annotations

import numpy as np
import pytest

from vtnstream.search.live import LabelScores
from vtnstream.search.vectors import QueryVectors, score
from vtnstream.types import Features, FloatArray, TokenTimes
from vtnstream.words.vectors import LabelVectors, identity, unit

SIZE, COUNT = 24, 60


def vectors(count: int, seed: int) -> FloatArray:
    return unit(np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32))


def times(count: int) -> TokenTimes:
    grid = np.arange(count)
    return TokenTimes(grid, grid, grid.astype(np.float64), grid + 1.0)


LABELS = (
    LabelVectors("words", vectors(1, 1)[0]),
    LabelVectors("example", None, vectors(2, 2)),
    LabelVectors("both", vectors(1, 3)[0], vectors(1, 4)),
)
VECTORS = QueryVectors(LABELS, vectors(40, 5))
NAMES = tuple(label.name for label in LABELS)


def streamed(values: FloatArray, size: int) -> tuple[FloatArray, TokenTimes]:
    """Evidence of a stream that arrives in parts of ``size`` tokens."""
    scores = LabelScores(VECTORS, identity, NAMES, lambda evidence: evidence)
    every = times(len(values))
    parts = [
        scores.push(values[start : start + size], every[start : start + size])
        for start in range(0, len(values), size)
    ]
    parts.append(scores.pending())
    return np.concatenate([p[0] for p in parts]), TokenTimes.concatenate([p[1] for p in parts])


def frames() -> FloatArray:
    return unit(np.cumsum(vectors(COUNT, 0), axis=0) + 0.3 * vectors(COUNT, 9))


@pytest.mark.parametrize("size", [1, 4, COUNT])
def test_each_score_is_that_of_the_video_up_to_its_frame(size: int) -> None:
    values = frames()
    found, kept = streamed(values, size)
    assert found.shape == (COUNT, 3) and kept.indices.tolist() == list(range(COUNT))
    for count in (1, 2, 7, 30, COUNT):
        whole = score(Features(values[:count], times(count)), VECTORS, identity, 0.0)
        for number, one in enumerate(whole.evidence):
            assert one is not None
            assert found[count - 1, number] == pytest.approx(one.presence[-1], abs=2e-3)
