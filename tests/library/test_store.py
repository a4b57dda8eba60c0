"""Vectors of many videos: whole or absent, several writers, exact and indexed search."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lancedb")

from vtnstream.errors import StoreError, UsageError
from vtnstream.library import store as module
from vtnstream.library.rows import LibraryAbout, VideoRow
from vtnstream.library.store import LibraryStore
from vtnstream.types import FloatArray, SecondsArray
from vtnstream.words.vectors import unit

SIZE = 16
ABOUT = LibraryAbout("m", "0" * 64, SIZE, '{"kind": "rate"}')


def vectors(count: int, seed: int = 0) -> FloatArray:
    return unit(np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32))


def add(store: LibraryStore, path: str, values: FloatArray) -> None:
    def blocks() -> Iterator[tuple[FloatArray, SecondsArray, SecondsArray]]:
        times = np.arange(len(values) + 1, dtype=np.float64)
        for start in range(0, len(values), 100):
            part = slice(start, start + 100)
            yield values[part], times[:-1][part], times[1:][part]

    def row(batch: str) -> VideoRow:
        return VideoRow(path, batch, "{}", path, len(values), 0.9, 0.5, "{}")

    store.write(row, blocks(), path)


def test_nearest_equals_a_plain_scan(tmp_path: Path) -> None:
    store = LibraryStore(str(tmp_path / "lib"), ABOUT)
    values = vectors(500)
    add(store, "a", values)
    query = vectors(1, 9)[0]
    hits = store.nearest(query, 10)
    expected = np.argsort(-(values @ query))[:10]
    assert hits.starts.astype(int).tolist() == expected.tolist()
    np.testing.assert_allclose(hits.vectors, values[expected], atol=1e-3)  # float16


def test_a_video_is_replaced_and_removed_whole(tmp_path: Path) -> None:
    store = LibraryStore(str(tmp_path / "lib"), ABOUT)
    add(store, "it's", vectors(250))
    add(store, "it's", vectors(30, 1))
    assert store.count() == 30 and list(store.videos()) == ["it's"]
    store.remove(list(store.videos().values()))
    assert store.count() == 0 and not store.videos()


def test_a_writer_that_dies_leaves_nothing_that_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LibraryStore(str(tmp_path / "lib"), ABOUT)
    add(store, "whole", vectors(20))

    def dying() -> Iterator[tuple[FloatArray, SecondsArray, SecondsArray]]:
        times = np.arange(50, dtype=np.float64)
        yield vectors(50), times, times + 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write(lambda batch: pytest.fail("never whole"), dying(), "half")
    again = LibraryStore(str(tmp_path / "lib"), ABOUT)
    assert list(again.videos()) == ["whole"] and again.count() == 70
    assert again.clean() == 0  # another writer may still be at it
    monkeypatch.setattr(time, "time", lambda: 9e9)
    assert again.clean() == 1 and again.count() == 20


_WRITER = """
import sys, time
import numpy as np
from tests.library.test_store import ABOUT, SIZE, add, vectors
from vtnstream.library.rows import VideoRow
from vtnstream.library.store import LibraryStore

place, name, videos, slow = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "slow"
store = LibraryStore(place, ABOUT)
for number in range(videos):
    add(store, f"{name}-{number}", vectors(30, number))
print("written", flush=True)
if slow:
    def blocks():
        times = np.arange(20, dtype=np.float64)
        while True:
            yield vectors(20, 9), times, times + 1
            print("block", flush=True)
    store.write(lambda batch: None, blocks(), "half")
"""


def writer(place: str, name: str, videos: int, kind: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", _WRITER, place, name, str(videos), kind]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_killed_writer_leaves_whole_videos_and_a_library_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(tmp_path / "lib")
    process = writer(place, "whole", 1, "slow")
    assert process.stdout is not None
    while process.stdout.readline() != "block\n":
        assert process.poll() is None
    process.kill()
    process.wait()
    process.stdout.close()
    store = LibraryStore(place, ABOUT)
    assert list(store.videos()) == ["whole-0"] and store.count() > 30
    add(store, "half", vectors(50, 4))  # the same video, again
    assert set(store.videos()) == {"whole-0", "half"}
    monkeypatch.setattr(time, "time", lambda: 9e9)
    assert store.clean() == 1 and store.count() == 80
    store.maintain()
    assert len(store.nearest(vectors(1, 4)[0], 5).starts) == 5


def test_two_processes_write_at_once(tmp_path: Path) -> None:
    place = str(tmp_path / "lib")
    LibraryStore(place, ABOUT)
    processes = [writer(place, name, 3, "once") for name in ("a", "b")]
    for process in processes:
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0 and out == "written\n"
    store = LibraryStore(place)
    assert len(store.videos()) == 6 and store.count() == 180


def test_several_writers_at_once(tmp_path: Path) -> None:
    place = str(tmp_path / "lib")
    LibraryStore(place, ABOUT)

    def write(number: int) -> None:
        store = LibraryStore(place, ABOUT)
        for part in range(2):
            add(store, f"{number}-{part}", vectors(10, number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    store = LibraryStore(place)
    assert len(store.videos()) == 8 and store.count() == 80


def test_an_index_finds_what_the_exact_search_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXACT_ROWS", 2_000)
    store = LibraryStore(str(tmp_path / "lib"), ABOUT)
    centres = vectors(40, 5)
    noise = np.random.default_rng(6).normal(scale=0.1, size=(4_000, SIZE))
    values = unit((np.repeat(centres, 100, axis=0) + noise).astype(np.float32))
    add(store, "a", values)
    assert not store.is_indexed
    done = store.maintain()
    assert done is not None and store.is_indexed
    found = wanted = 0
    for query in values[::400]:
        exact = set(store.nearest(query, 10, exact=True).starts.tolist())
        found += len(exact & set(store.nearest(query, 10).starts.tolist()))
        wanted += len(exact)
    assert found / wanted >= 0.95


def test_an_index_of_another_kind_is_not_used_and_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXACT_ROWS", 500)
    store = LibraryStore(str(tmp_path / "lib"), ABOUT)
    add(store, "a", vectors(600, 7))
    flat = pytest.importorskip("lancedb.index").IvfFlat
    lancedb = pytest.importorskip("lancedb")
    table = lancedb.connect(tmp_path / "lib").open_table("vectors")
    table.create_index("vector", config=flat(distance_type="cosine", num_partitions=1))
    store = LibraryStore(str(tmp_path / "lib"))
    assert not store.is_indexed
    query = vectors(1, 8)[0]
    exact = store.nearest(query, 10, exact=True)
    assert store.nearest(query, 10).starts.tolist() == exact.starts.tolist()
    assert store.maintain() is not None and store.is_indexed


def test_other_models_and_absent_libraries_are_said(tmp_path: Path) -> None:
    place = str(tmp_path / "lib")
    with pytest.raises(StoreError, match="`vtnstream index` makes it"):
        LibraryStore(place)
    store = LibraryStore(place, ABOUT)
    other = LibraryAbout("n", "1" * 64, SIZE, ABOUT.sampling)
    with pytest.raises(UsageError, match="vectors of another model"):
        LibraryStore(place, other)
    with pytest.raises(UsageError, match="another sampling"):
        LibraryStore(place, LibraryAbout("m", "0" * 64, SIZE, "{}"))
    with pytest.raises(UsageError, match="of different models"):
        store.nearest(np.ones(3, np.float32), 1)
