"""Real footage as raw material: small takes without cuts, in one file that any number of
processes can read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
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
"""Size of stored frames in pixels, with room to move a crop."""
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp"})

_MIN_FRAMES, _MAX_FRAMES = 24, 1500
_SLOW_RATE = 10
"""Frames per second; motion in slower videos is not continuous, so their frames serve as
photos."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Take:
    """Frames ``[start, stop)`` of the file: moving images, or one photo."""

    start: int
    stop: int

    @property
    def is_photo(self) -> bool:
        return self.stop - self.start == 1


@dataclass(frozen=True, slots=True)
class RealEdit:
    """Frames ``[start, stop)`` of the file: real shots joined by cuts alone.

    Attributes:
        start, stop: frames.
        cuts: first frames of the shots after the first, counted from ``start``.
    """

    start: int
    stop: int
    cuts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KnownEdits:
    """The ground truth of a source, in frame numbers of the source. A take contains none of them.

    Attributes:
        cuts: first frames of shots that begin with a cut.
        others: stretches [first, last] with gradual transitions or uncertain labels; they are
            left out.
    """

    cuts: tuple[int, ...] = ()
    others: tuple[tuple[int, int], ...] = ()


class Footage:
    """Takes and real edits of :func:`gather`, memory-mapped."""

    def __init__(self, folder: str | Path) -> None:
        self.frames: Frames = np.load(Path(folder) / "frames.npy", mmap_mode="r")
        found = json.loads((Path(folder) / "takes.json").read_text())
        self.takes = [Take(*pair) for pair in found["takes"]]
        self.edits = [RealEdit(a, b, tuple(cuts)) for a, b, cuts in found["edits"]]
        self.photos = [take for take in self.takes if take.is_photo]
        self.moving = [take for take in self.takes if not take.is_photo]

    def read(self, take: Take, first: int = 0, stop: int | None = None) -> Frames:
        """Return frames (T, 96, 144, 3) of a take; numbers count from its first frame."""
        end = take.stop if stop is None else min(take.start + stop, take.stop)
        return np.asarray(self.frames[take.start + first : end])


def gather(
    sources: Sequence[Path],
    folder: str | Path,
    *,
    known: Mapping[Path, KnownEdits] | None = None,
    progress: Progress | None = None,
) -> Footage:
    """Read videos and photos, and store them for :class:`Footage`.

    Args:
        sources: files; those that are neither videos nor photos are ignored.
        folder: receives the raw material.
        known: ground truth of some sources. Others are divided at abrupt changes.
        progress: receives each file.

    Raises:
        UsageError: no source is usable.
    """
    progress = progress or NullProgress()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts: list[Frames] = []
    takes: list[tuple[int, int]] = []
    edits: list[tuple[int, int, list[int]]] = []
    known = known or {}
    count = 0
    progress.start("reading footage", total=len(sources), unit="files")
    try:
        for number, source in enumerate(sources):
            try:
                found = list(_takes_of(source, known.get(source)))
            except VideoError as error:
                progress.warn(f"{error} (ignored)")
                found = []
            for frames, cuts in found:
                parts.append(frames)
                takes += _shots(count, len(frames), cuts)
                if cuts:
                    edits.append((count, count + len(frames), cuts))
                count += len(frames)
            progress.advance(number + 1, note=source.name)
    finally:
        progress.finish()
    if not parts:
        raise UsageError("no usable footage: name folders with videos or photos")
    np.save(folder / "frames.npy", np.concatenate(parts))
    (folder / "takes.json").write_text(json.dumps({"takes": takes, "edits": edits}))
    return Footage(folder)


def _shots(start: int, count: int, cuts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the takes between cuts: long ones are divided, short ones left out."""
    if count == 1:
        yield start, start + 1
    for first, stop in pairwise((0, *cuts, count)):
        for begin in range(first, stop, _MAX_FRAMES):
            end = min(begin + _MAX_FRAMES, stop)
            if end - begin >= _MIN_FRAMES:
                yield start + begin, start + end


def _takes_of(source: Path, known: KnownEdits | None) -> Iterator[tuple[Frames, list[int]]]:
    """Yield the frames of each stretch without gradual transitions, and its cuts."""
    suffix = source.suffix.lower()
    if suffix in PHOTO_SUFFIXES:
        yield _photo(source), []
    elif suffix in VIDEO_SUFFIXES:
        yield from _video(source, known)


def _photo(path: Path) -> Frames:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT)))[None]


def _video(path: Path, known: KnownEdits | None) -> Iterator[tuple[Frames, list[int]]]:
    """Yield the stretches of a video between its cuts; of a slow video, single frames."""

    def fit(width: int, height: int) -> Fit:
        return Fit(WIDTH, HEIGHT, 0, 0, WIDTH, HEIGHT)

    with open_video(path, SamplingConfig(kind="all"), fit=fit, interpolation="area") as source:
        slow = (source.info.average_rate or 25) < _SLOW_RATE
        chunks = [chunk.frames for chunk in source.chunks()]
    frames = np.concatenate(chunks)
    if known is not None:
        edges = [0, *(edge for a, b in known.others for edge in (a, b + 1)), len(frames)]
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if stop - start >= _MIN_FRAMES:
                yield frames[start:stop], [c - start for c in known.cuts if start < c < stop]
    elif slow:
        yield from ((frames[i : i + 1], []) for i in range(0, len(frames), 8))
    else:
        yield from ((frames[a:b], []) for a, b in uncut_stretches(frames) if b - a >= _MIN_FRAMES)


def uncut_stretches(frames: Frames) -> list[tuple[int, int]]:
    """Return stretches ``[start, stop)`` without a possible cut, where consecutive frames differ by
    more than 14 of 255 and by far more than usual."""
    change = np.abs(np.diff(frames[:, ::4, ::4].astype(np.int16), axis=0)).mean((1, 2, 3))
    limit = max(14.0, 6 * float(np.median(change)) + 4) if len(change) else 14.0
    edges = [0, *(np.flatnonzero(change > limit) + 1).tolist(), len(frames)]
    return [(a, b) for a, b in pairwise(edges) if b > a]
