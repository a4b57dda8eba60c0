"""Names of results: no result overwrites another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vtnstream.batch.manifest import Input, InputList
from vtnstream.batch.naming import assign_names
from vtnstream.batch.shard import Shard
from vtnstream.batch.storage import FolderStorage
from vtnstream.report.naming import base_name, file_name, folded, output_names

SUFFIXES = (".json", ".csv")


def listed(*paths: str) -> InputList:
    return InputList(tuple(Input(path) for path in paths), single=False)


def settle(folder: Path, *paths: str, shard: Shard | None = None) -> dict[str, str]:
    return assign_names(listed(*paths), SUFFIXES, FolderStorage(folder), shard)


def files(names: dict[str, str]) -> set[str]:
    return {folded(file_name(base, suffix)) for base in names.values() for suffix in SUFFIXES}


def test_odd_names_never_collide(tmp_path: Path) -> None:
    long = "x" * 251 + ".mp4"
    odd = ["/a/movie.mp4", "/b/movie.mp4", "/c/MOVIE.mp4", "/a/-o.mp4", "/a/\udcff.mp4"]
    odd += [f"/a/{long}", f"/b/{long}", f"/a/{long[1:]}", "/a/a\nb.mp4", "/a/a\tb.mp4"]
    odd += ["/a/é.mp4", "/a/e\u0301.mp4", "/a/status", "/a/.names", "/a/a\u202eb.mp4"]
    names = settle(tmp_path, *odd)
    assert len(files(names)) == 2 * len(odd)
    for base in names.values():
        for suffix in SUFFIXES:
            name = file_name(base, suffix)
            assert len(os.fsencode(name)) <= 255 and not set("\n\t/\u202e") & set(name)
            (tmp_path / name).write_text("x")


@pytest.mark.parametrize("path", ["/a/status", "/a/STATUS", "/a/status-1-of-2", "/a/.names"])
def test_no_result_takes_the_name_of_the_records(path: str, tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    base = assign_names(listed(path), (".jsonl", ".json"), storage, None)[path]
    assert base != base_name(path) and base.startswith(base_name(path))


def test_a_name_is_kept_once_given(tmp_path: Path) -> None:
    first = settle(tmp_path, "/a/movie.mp4")
    both = settle(tmp_path, "/b/movie.mp4", "/a/movie.mp4")
    assert first == {"/a/movie.mp4": "movie.mp4"}
    assert both["/a/movie.mp4"] == "movie.mp4" != both["/b/movie.mp4"]
    assert settle(tmp_path, "/b/movie.mp4") == {"/b/movie.mp4": both["/b/movie.mp4"]}


def test_an_existing_file_of_another_origin_is_kept(tmp_path: Path) -> None:
    (tmp_path / "Movie.mp4.csv").write_text("somebody's")
    names = settle(tmp_path, "/a/movie.mp4")
    assert names["/a/movie.mp4"] != "movie.mp4"
    assert settle(tmp_path, "/a/movie.mp4") == names


def test_shards_agree_without_communication(tmp_path: Path) -> None:
    paths = [f"/{folder}/movie.mp4" for folder in range(20)]
    whole = settle(tmp_path / "whole", *paths)
    parts = [settle(tmp_path / "parts", *paths, shard=Shard(i, 3)) for i in (3, 1, 2)]
    assert parts[0] | parts[1] | parts[2] == whole
    assert len(set(whole.values())) == 20


def test_suffixes_of_formats_do_not_make_names_collide(tmp_path: Path) -> None:
    suffixes = (".json", ".fiftyone.json")
    paths = listed("/a/x", "/a/x.fiftyone")
    for shard in (None, Shard(1, 2), Shard(2, 2)):
        storage = FolderStorage(tmp_path / str(shard))
        names = assign_names(paths, suffixes, storage, None)
        assert len({file_name(base, s) for base in names.values() for s in suffixes}) == 4
        if shard is not None:
            part = assign_names(paths, suffixes, FolderStorage(tmp_path / "parts"), shard)
            assert part.items() <= names.items()


def test_a_damaged_or_hostile_record_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / ".names.json").write_text('{"/a/movie.mp4": "../../escaped", "/b/x.mp4": 3}')
    assert settle(tmp_path, "/a/movie.mp4") == {"/a/movie.mp4": "movie.mp4"}
    (tmp_path / ".names.json").write_text('{"/a/')
    assert settle(tmp_path, "/a/movie.mp4") == {"/a/movie.mp4": "movie.mp4"}


def test_hashes_grow_until_names_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vtnstream.report.naming._HASH_DIGITS", (1, 16))
    paths = [f"/{folder}/video.mp4" for folder in range(100)]
    assert len(set(output_names(paths).values())) == 100


def test_hashed_and_plain_names_do_not_collide() -> None:
    pair = output_names(["/a/x.mp4", "/b/x.mp4"])
    third = f"/c/{pair['/a/x.mp4']}"
    assert len(set(output_names(["/a/x.mp4", "/b/x.mp4", third]).values())) == 3
