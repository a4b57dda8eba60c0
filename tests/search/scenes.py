"""A video of four scenes, the first of which comes again at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vtnstream.video.write import write_video

RATE, SCENE_SECONDS = 4, 6
ORDER = (0, 1, 2, 3, 0)
"""Scenes in the order of the video, six seconds each."""


def scene(number: int) -> NDArray[np.uint8]:
    """A still of coarse coloured fields, (96, 96, 3) uint8."""
    random = np.random.default_rng(number)
    fields = random.integers(0, 256, (3, 3, 3), np.uint8)
    return np.kron(fields, np.ones((32, 32, 1), np.uint8))


def frames(order: Sequence[int] = ORDER) -> Iterator[NDArray[np.uint8]]:
    random = np.random.default_rng(99)
    for number in order:
        for _ in range(RATE * SCENE_SECONDS):
            noise = random.integers(-12, 13, (96, 96, 3))
            yield np.clip(scene(number).astype(int) + noise, 0, 255).astype(np.uint8)


def write_scenes(path: Path, order: Sequence[int] = ORDER) -> Path:
    write_video(path, frames(order), Fraction(RATE))
    return path


def write_still(path: Path, number: int) -> Path:
    Image.fromarray(scene(number)).save(path)
    return path
