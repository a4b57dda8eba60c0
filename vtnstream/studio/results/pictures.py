"""Small images of videos, which are made on first use and cached on disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from pathlib import Path

from vtnstream.atomic import whole_file
from vtnstream.errors import VtnstreamError
from vtnstream.studio.problems import NotFoundProblem
from vtnstream.studio.results.documents import Loaded

PARTS = 120
"""Number of equal parts of a timeline; each has one image."""

_LIMIT_BYTES = 256 << 20
_POSTER_SIDE = 320
_PART_SIDE = 160
_SHORTEST = 0.25
"""Seconds; a shorter span of a short video may have no frame of its own."""

_DIGITS = 3
"""Decimals of the seconds of spans, so that equal spans share a picture."""

_NEAR_START = 1.0
"""Seconds that are decoded at most for the poster of a file that cannot be sought in."""


class Pictures:
    """Posters of the library and thumbnails of the timeline.

    Args:
        folder: of the cache.
        limit_bytes: the least recently used pictures are removed when all together take more.
    """

    def __init__(self, folder: Path, limit_bytes: int = _LIMIT_BYTES) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._held: int | None = None
        self._lock = threading.Lock()

    def poster(self, loaded: Loaded, video: Path) -> bytes:
        """A JPEG from the first half of a video, at most 320 pixels wide and high.

        Args:
            loaded: the result.
            video: its video or a copy of it.

        Raises:
            NotFoundProblem: no frame can be shown.
        """
        start, end = loaded.report.start_seconds, loaded.base.limit
        span = _widened(start + (end - start) / 6, start + (end - start) / 2, end)
        return self._picture(loaded, video, span, _POSTER_SIDE)

    def part(self, loaded: Loaded, video: Path, number: int) -> bytes:
        """A JPEG of one of :data:`PARTS` parts, at most 160 pixels wide and high.

        Raises:
            NotFoundProblem: no frame can be shown.
        """
        if not 0 <= number < PARTS:
            raise NotFoundProblem(f"there are parts 0 to {PARTS - 1}, not {number}")
        start, end = loaded.report.start_seconds, loaded.base.limit
        step = (end - start) / PARTS
        span = _widened(start + number * step, start + (number + 1) * step, end)
        return self._picture(loaded, video, span, _PART_SIDE)

    def span(self, loaded: Loaded, video: Path, start: float, end: float) -> bytes:
        """A JPEG of a span of seconds, at most 160 pixels wide and high.

        Raises:
            NotFoundProblem: the span does not lie in the video, or no frame can be shown.
        """
        limit = loaded.base.limit
        if not 0 <= start < end or start >= limit:
            raise NotFoundProblem(f"there is no span {start:g} to {end:g} s in this video")
        rounded = (round(start, _DIGITS), round(min(end, limit), _DIGITS))
        return self._picture(loaded, video, _widened(*rounded, limit), _PART_SIDE)

    def _picture(self, loaded: Loaded, video: Path, span: tuple[float, float], side: int) -> bytes:
        status = video.stat()
        key = f"{video}|{status.st_size}|{status.st_mtime_ns}|{span}|{side}"
        name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        path = self._folder / name[:2] / f"{name}.jpg"
        with contextlib.suppress(OSError):
            known = path.read_bytes()
            os.utime(path)  # it counts as used now
            return known
        stream = loaded.report.video.stream_index if video == loaded.video else None
        made = _frame(video, span, stream, side)
        with contextlib.suppress(OSError):  # a full cache makes pictures slower, never absent
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as file:
                file.write(made)
            self._make_room(len(made))
        return made

    def _make_room(self, added: int) -> None:
        """Count a new picture. Beyond the limit, remove the least recently used ones until a tenth
        of it is free, so that the folder is not searched for every picture."""
        with self._lock:
            if self._held is not None:
                self._held += added
                if self._held <= self._limit:
                    return
            found = [(path, path.stat()) for path in self._folder.glob("*/*.jpg")]
            self._held = sum(status.st_size for _, status in found)
            if self._held <= self._limit:
                return
            for path, status in sorted(found, key=lambda item: item[1].st_mtime_ns):
                path.unlink(missing_ok=True)
                self._held -= status.st_size
                if self._held <= 0.9 * self._limit:
                    return


def _widened(start: float, end: float, limit: float) -> tuple[float, float]:
    start = max(0.0, min(start, limit - _SHORTEST))
    return start, max(end, start + _SHORTEST)


def _frame(video: Path, span: tuple[float, float], stream: int | None, side: int) -> bytes:
    from vtnstream.video.thumbnails import thumbnails

    try:
        (found,) = thumbnails(video, [span], stream=stream, side=side)
        if found is not None:
            return found.jpeg
        if side == _POSTER_SIDE:
            return _frame_near_start(video, span[0], stream, side)
    except VtnstreamError as error:
        raise NotFoundProblem(str(error)) from error
    raise NotFoundProblem(f"{video}: no frame can be shown at {span[0]:.1f} s")


def _frame_near_start(video: Path, start: float, stream: int | None, side: int) -> bytes:
    """For a file that cannot be sought in."""
    from vtnstream.video.stills import stills
    from vtnstream.video.thumbnails import jpeg

    for moment in (min(start, _NEAR_START), 0.0):
        (still,) = stills(video, [moment], height=side // 2, stream=stream)
        if still is not None:
            return jpeg(still[:, : still.shape[1] // 2 * 2])
    raise NotFoundProblem(f"{video}: no frame can be shown")
