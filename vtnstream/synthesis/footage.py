"""Real footage as raw material: takes without cuts of their own, small, in one file that any
number of processes read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import SamplingConfig
from vtnstream.errors import UsageError, VideoError
from vtnstream.progress import NullProgress, Progress
from vtnstream.suffixes import VIDEO_SUFFIXES
from vtnstream.types import Fit
from vtnstream.video.source import open_video

WIDTH, HEIGHT = 144, 96
"""Pixels of stored frames: room to move a crop in."""
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})

_MIN_FRAMES, _MAX_FRAMES = 24, 1500
_SLOW_RATE = 10
"""Videos below this many frames a second move in jumps: their frames serve as photos."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Take:
    """Frames ``[start, stop)`` of the file: a moving picture, or one photo."""

    start: int
    stop: int

    @property
    def is_photo(self) -> bool:
        return self.stop - self.start == 1


class Footage:
    """Takes of :func:`gather`, memory-mapped."""

    def __init__(self, folder: str | Path) -> None:
        self.frames: Frames = np.load(Path(folder) / "frames.npy", mmap_mode="r")
        takes = json.loads((Path(folder) / "takes.json").read_text())
        self.takes = [Take(*pair) for pair in takes]
        self.photos = [take for take in self.takes if take.is_photo]
        self.moving = [take for take in self.takes if not take.is_photo]

    def read(self, take: Take, first: int = 0, stop: int | None = None) -> Frames:
        """Frames of a take, counted from its own first: (T, 96, 144, 3)."""
        end = take.stop if stop is None else min(take.start + stop, take.stop)
        return np.asarray(self.frames[take.start + first : end])


def gather(
    sources: Sequence[Path], folder: str | Path, *, progress: Progress | None = None
) -> Footage:
    """Read videos and photos once.

    Args:
        sources: files; what is neither video nor photo is passed over.
        folder: where the raw material goes.
        progress: told of each file.

    Raises:
        UsageError: nothing usable among them.
    """
    progress = progress or NullProgress()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Frames] = []
    takes: list[tuple[int, int]] = []
    count = 0
    progress.start("reading footage", total=len(sources), unit="files")
    try:
        for number, source in enumerate(sources):
            try:
                found = list(_takes_of(source))
            except VideoError as error:
                progress.warn(f"{error} (passed over)")
                found = []
            for frames in found:
                parts.append(frames)
                takes.append((count, count + len(frames)))
                count += len(frames)
            progress.advance(number + 1, note=source.name)
    finally:
        progress.finish()
    if not parts:
        raise UsageError("no usable footage: name folders with videos or photos")
    np.save(folder / "frames.npy", np.concatenate(parts))
    (folder / "takes.json").write_text(json.dumps(takes))
    return Footage(folder)


def _takes_of(source: Path) -> Iterator[Frames]:
    suffix = source.suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        yield _photo(source)
    elif suffix in VIDEO_SUFFIXES:
        yield from _video(source)


def _photo(path: Path) -> Frames:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT)))[None]


def _video(path: Path) -> Iterator[Frames]:
    """A video cut where it has cuts of its own; single frames of one with few a second."""

    def fit(width: int, height: int) -> Fit:
        return Fit(WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT)

    with open_video(path, SamplingConfig(kind="all"), fit=fit, interpolation="area") as source:
        slow = (source.info.average_rate or 25) < _SLOW_RATE
        chunks = [chunk.frames for chunk in source.chunks()]
    frames = np.concatenate(chunks)
    if slow:
        yield from (frames[i : i + 1] for i in range(0, len(frames), 8))
        return
    for start, stop in unbroken(frames):
        for first in range(start, stop, _MAX_FRAMES):
            part = frames[first : min(first + _MAX_FRAMES, stop)]
            if len(part) >= _MIN_FRAMES:
                yield part


def unbroken(frames: Frames) -> list[tuple[int, int]]:
    """Stretches ``[start, stop)`` without a jump that may be a cut: frames differ by more than
    14 of 255 and far more than usual."""
    change = np.abs(np.diff(frames[:, ::4, ::4].astype(np.int16), axis=0)).mean((1, 2, 3))
    limit = max(14.0, 6 * float(np.median(change)) + 4) if len(change) else 14.0
    edges = [0, *(np.flatnonzero(change > limit) + 1).tolist(), len(frames)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
