"""The cache of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.studio.conftest import Served
from vtnstream.studio.problems import NotFoundProblem
from vtnstream.studio.results.pictures import Pictures


def test_the_cache_keeps_what_was_used_last(
    serve: Callable[..., Served], folder: Path, tmp_path: Path
) -> None:
    served = serve(folder)
    loaded = served.studio.documents.load(served.ids()["25 film.mp4"])
    assert loaded.video is not None
    cache = tmp_path / "small"

    def files() -> dict[str, int]:
        return {path.name: path.stat().st_size for path in cache.glob("*/*.jpg")}

    def made(start: float) -> str:
        before = set(files())
        pictures.span(loaded, video, start, start + 0.5)
        (name,) = set(files()) - before
        return name

    video, pictures = loaded.video, Pictures(cache, limit_bytes=1 << 20)
    kept, dropped, third = made(0.0), made(1.0), made(3.0)
    first = pictures.span(loaded, video, 0.0, 0.5)
    limit = sum(files().values()) - 1  # room for two of these three
    next(cache.glob(f"*/{third}")).unlink()
    for number, name in enumerate((kept, dropped)):  # as if both had been made long ago
        os.utime(next(cache.glob(f"*/{name}")), (1000 + number, 1000 + number))
    small = Pictures(cache, limit_bytes=limit)
    assert small.span(loaded, loaded.video, 0.0, 0.5) == first  # used again
    small.span(loaded, loaded.video, 3.0, 3.5)
    assert kept in files() and dropped not in files()
    assert sum(files().values()) <= limit
    assert small.span(loaded, loaded.video, 1.0, 1.5)  # made again
    for start, end in ((-1.0, 2.0), (2.0, 2.0), (90.0, 91.0)):
        with pytest.raises(NotFoundProblem, match="no span"):
            small.span(loaded, loaded.video, start, end)
