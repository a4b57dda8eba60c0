"""Videos for the examples: scenes of a few seconds with stripes, a moving dot or a slow pan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

SIZE, RATE = 64, 12
Colours = tuple[np.ndarray, np.ndarray]


def write_scenes(path: Path, scenes: Sequence[tuple[str, float]], *, seed: int = 0) -> Path:
    """Write a video of scenes, each a kind (``stripes``, ``dot``, ``pan``) and seconds.

    Stripes look alike in all scenes of one video, and so do dots; each pan shows another place.
    """
    random = np.random.default_rng(seed)
    colours: dict[str, Colours] = {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 2 * SIZE, SIZE, "yuv420p"
        for kind, seconds in scenes:
            drawn = (random.integers(0, 100, 3), random.integers(150, 256, 3))
            used = drawn if kind == "pan" else colours.setdefault(kind, drawn)
            for image in _scene(kind, round(seconds * RATE), used, random):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _scene(
    kind: str, count: int, colours: Colours, random: np.random.Generator
) -> Iterator[np.ndarray]:
    """(SIZE, 2 * SIZE, 3) uint8 frames of one scene between a dark and a light colour."""
    dark, light = colours
    landscape = _smooth(random.random((SIZE // 8, SIZE // 4 + count)))
    rows, columns = np.mgrid[:SIZE, : 2 * SIZE]
    for number in range(count):
        if kind == "stripes":
            share = (columns + 2 * number) // 8 % 2
        elif kind == "dot":
            x = SIZE + 40 * np.sin(number / 6)
            share = (columns - x) ** 2 + (rows - SIZE / 2) ** 2 < 15**2
        elif kind == "pan":
            share = landscape[:, number : number + 2 * SIZE]
        else:
            raise ValueError(f"unknown kind of scene {kind!r}")
        yield (dark + share[..., None] * (light - dark)).astype(np.uint8)


def _smooth(coarse: np.ndarray) -> np.ndarray:
    """An image eight times as large, each pixel between its coarse neighbours."""
    for axis in (0, 1):
        places = np.arange(8 * coarse.shape[axis]) / 8
        low = np.minimum(places.astype(int), coarse.shape[axis] - 2)
        part = np.expand_dims(np.minimum(places - low, 1), 1 - axis)
        first, second = coarse.take(low, axis), coarse.take(low + 1, axis)
        coarse = first + part * (second - first)
    return coarse
