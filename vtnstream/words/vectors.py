"""Unit vectors of labels, and statistics of a video's frames in the same space."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from vtnstream.errors import FeatureError
from vtnstream.types import FeatureSequence, FloatArray, SecondsArray

BLOCK_TOKENS = 4096
"""Frames scored at a time: memory does not grow with the video."""

Project = Callable[[FloatArray], FloatArray]
"""Features (n, D) of a backbone to vectors (n, E) of the space that is searched."""


def identity(features: FloatArray) -> FloatArray:
    """Return features unchanged: the projection of a backbone whose features are searched
    directly."""
    return features


def unit(vectors: FloatArray) -> FloatArray:
    """Scale rows to length 1; a row of zeros stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class LabelVectors:
    """Unit vectors (E,) that represent one label.

    Attributes:
        name: name of the label.
        text: (E,) mean of its prompts' vectors, or None.
        examples: (n, E), one for each example; n may be 0.
        seconds: (n,) how long each example is; 0 for an image.
    """

    name: str
    text: FloatArray | None = None
    examples: FloatArray = field(default_factory=lambda: np.empty((0, 0), np.float32))
    seconds: SecondsArray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if not len(self.seconds):
            object.__setattr__(self, "seconds", np.zeros(len(self.examples)))


@dataclass(frozen=True, slots=True, eq=False)
class FrameStatistics:
    """Similarity between the frames of a video.

    Attributes:
        count: number of frames.
        mean: (E,) mean of their unit vectors.
        near: mean cosine of a frame and the next one, None for a single frame.
        far: mean cosine of any two different frames, None for a single frame.
    """

    count: int
    mean: FloatArray
    near: float | None
    far: float | None

    @classmethod
    def of(cls, blocks: Iterable[FloatArray]) -> FrameStatistics:
        """Of unit vectors in blocks of (n, E).

        Raises:
            ValueError: there is no frame.
        """
        total: FloatArray | None = None
        last: FloatArray | None = None
        near, count = 0.0, 0
        for block in blocks:
            if not len(block):
                continue
            sums = block.sum(axis=0, dtype=np.float64)
            total = sums if total is None else total + sums
            rows = block if last is None else np.concatenate([last[None], block])
            near += float(np.einsum("ij,ij->", rows[1:], rows[:-1], dtype=np.float64))
            last, count = block[-1], count + len(block)
        if total is None:
            raise ValueError("statistics of no frames")
        mean = (total / count).astype(np.float32)
        if count == 1:
            return cls(1, mean, None, None)
        far = (float(total @ total) - count) / (count * (count - 1))
        return cls(count, mean, near / (count - 1), far)


def unit_blocks(features: FeatureSequence, project: Project = identity) -> Iterable[FloatArray]:
    """Yield a video's features as blocks of at most (:data:`BLOCK_TOKENS`, E) unit vectors."""
    for block in features.blocks(BLOCK_TOKENS):
        yield unit(project(block))


def check_sizes(labels: Sequence[LabelVectors], size: int) -> None:
    """Check that vectors have the dimension of the features.

    Raises:
        FeatureError: they belong to another space.
    """
    for label in labels:
        found = {len(label.text)} if label.text is not None else set()
        if len(label.examples):
            found.add(label.examples.shape[1])
        if found - {size}:
            raise FeatureError(
                f"label {label.name!r} has vectors of {sorted(found - {size})[0]} numbers and the "
                f"frames have {size}: they are of different models"
            )


def check_space(vectors: FloatArray, size: int) -> None:
    """
    Raises:
        FeatureError: vectors of words are of another space than frames of ``size`` numbers.
    """
    if vectors.shape[1] != size:
        raise FeatureError(
            f"words have {vectors.shape[1]} numbers and the frames have {size}: they are of "
            "different models"
        )
