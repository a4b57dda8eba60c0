"""Storage of results: a folder, and object stores by the same rules."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from vtnstream.batch.storage import FolderStorage, ObjectStorage, Storage, open_storage
from vtnstream.errors import OutputError, UsageError


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    place = str(tmp_path / "run") if request.param == "folder" else "memory://bucket/run"
    yield open_storage(place)
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def test_objects_are_put_read_listed_and_replaced(storage: Storage) -> None:
    assert storage.read("a.json") is None
    assert storage.sizes() == {} and storage.sizes("deep/er") == {}
    assert list(storage.read_folder("deep")) == []
    storage.write("a.json", b"one")
    storage.write("deep/er/b.json", b"other")
    storage.write("a.json", b"three")
    assert storage.read("a.json") == b"three" and storage.sizes()["a.json"] == 5
    assert storage.read("deep/er/b.json") == b"other"
    assert list(storage.sizes()) == ["a.json", "deep"]
    assert storage.sizes("deep/er") == {"b.json": 5}
    assert list(storage.read_folder("deep/er")) == [b"other"]
    storage.write("deep/er/c.json", b"third")
    assert sorted(storage.read_folder("deep/er")) == [b"other", b"third"]
    storage.delete("deep/er/c.json")
    storage.delete("deep/er/c.json")
    assert storage.sizes("deep/er") == {"b.json": 5}


def test_files_are_put_there_whole(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(3 * 2**20))
    storage.put("results/large.bin", tmp_path / "large")
    assert storage.sizes("results") == {"large.bin": 3 * 2**20}


def test_names_that_are_not_utf8(storage: Storage) -> None:
    names = ["\udcff.json", "\udcfe.json", "%FF.json", "ä €.json"]
    for number, name in enumerate(names):
        storage.write(name, str(number).encode())
    assert [storage.read(name) for name in names] == [b"0", b"1", b"2", b"3"]
    assert set(storage.sizes()) == {storage.stored(name) for name in names}
    assert len(storage.sizes()) == 4


def test_an_address_chooses_the_kind(tmp_path: Path) -> None:
    assert isinstance(open_storage(str(tmp_path)), FolderStorage)
    assert isinstance(open_storage(f"file://{tmp_path}/x"), FolderStorage)
    assert (tmp_path / "x").is_dir()
    assert isinstance(open_storage("memory://x"), ObjectStorage)
    with pytest.raises(UsageError, match="cannot be used for results"):
        open_storage("gopher://x/y")


def test_errors_of_writing_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file: cannot be created"):
        open_storage(str(tmp_path / "file"))
    storage = open_storage(str(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="folder: cannot be written"):
        storage.write("folder", b"x")
    with pytest.raises(OutputError, match="folder: cannot be read"):
        storage.read("folder")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_errors_of_an_object_store_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = open_storage("memory://bucket")

    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("503\nslow down")

    for name in ("pipe_file", "cat_file", "put_file", "rm_file", "ls"):
        monkeypatch.setattr(fsspec.implementations.memory.MemoryFileSystem, name, fail)
    for call in (
        lambda: storage.write("a", b""),
        lambda: storage.read("a"),
        lambda: list(storage.read_folder("a")),
        lambda: storage.put("a", Path("nowhere")),
        lambda: storage.delete("a"),
        lambda: storage.sizes(),
    ):
        with pytest.raises(OutputError, match=r"^memory://bucket.*503 slow down\)$"):
            call()
