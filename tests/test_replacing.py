"""Existing files are kept: sources under any name, files of the user, files that changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vtnstream.errors import OutputError
from vtnstream.replacing import announce, check_folder, check_target, move_into_place, remember


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"video")
    return path


@pytest.mark.parametrize("kind", ["same", "relative", "link", "hard link"])
def test_the_source_is_never_replaced_under_any_name(
    source: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = source.with_name("other.mp4")
    if kind == "link":
        target.symlink_to(source)
    elif kind == "hard link":
        target.hardlink_to(source)
    elif kind == "relative":
        monkeypatch.chdir(source.parent)
        target = Path("./film.mp4")
    else:
        target = source
    remember([source])
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="is the source itself"):
            check_target(target, sources=[source], overwrite=overwrite, remembered=True)


def test_an_existing_file_needs_permission(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    check_target(target)
    target.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
        check_target(target)
    check_target(target, overwrite=True)
    target.unlink()
    target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="exists already"):
        check_target(target)


def test_what_was_written_here_may_be_written_again_until_it_is_changed(tmp_path: Path) -> None:
    target = tmp_path / "film.srt"
    target.write_text("1\n")
    with pytest.raises(OutputError, match="not written by vtnstream"):
        check_target(target, remembered=True)
    remember([target])
    check_target(target, remembered=True)
    with pytest.raises(OutputError):
        check_target(target)
    target.write_text("2\n")
    with pytest.raises(OutputError, match="changed since"):
        check_target(target, remembered=True)
    target.unlink()
    elsewhere = tmp_path / "elsewhere.srt"
    elsewhere.write_text("1\n")
    target.symlink_to(elsewhere)
    with pytest.raises(OutputError):
        check_target(target, remembered=True)


def test_a_run_killed_around_its_rename_may_run_again(tmp_path: Path) -> None:
    target, temporary = tmp_path / "video.srt", tmp_path / ".part"
    for previous in (None, "1\n"):
        if previous is not None:
            target.write_text(previous)
            remember([target])
        temporary.write_text("2\n")
        announce(temporary, target)
        check_target(target, remembered=True)  # killed before the rename
        temporary.rename(target)
        check_target(target, remembered=True)  # killed after it
        target.write_text("3\n")
        with pytest.raises(OutputError, match="changed since"):
            check_target(target, remembered=True)
        target.unlink()


def test_without_a_cache_nothing_is_remembered_and_nothing_fails(
    tmp_path: Path, cache: Path
) -> None:
    cache.write_text("a file where the cache directory would be")
    target = tmp_path / "film.srt"
    target.write_text("1\n")
    remember([target])
    with pytest.raises(OutputError):
        check_target(target, remembered=True)


def test_a_file_that_appeared_meanwhile_is_kept(tmp_path: Path) -> None:
    temporary, target = tmp_path / ".part", tmp_path / "clip.mp4"
    temporary.write_bytes(b"new")
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match="exists already"):
        move_into_place(temporary, target, overwrite=False)
    assert target.read_bytes() == b"old" and temporary.exists()
    move_into_place(temporary, target, overwrite=True)
    assert target.read_bytes() == b"new" and os.listdir(tmp_path) == ["clip.mp4"]


def test_a_new_file_gets_its_name_in_one_step(tmp_path: Path) -> None:
    temporary, target = tmp_path / ".part", tmp_path / "clip.mp4"
    temporary.write_bytes(b"new")
    move_into_place(temporary, target, overwrite=False)
    assert target.read_bytes() == b"new" and os.listdir(tmp_path) == ["clip.mp4"]


def test_a_place_is_checked_without_leaving_anything(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "deep")
    check_target(tmp_path / "new" / "clip.mp4")
    assert os.listdir(tmp_path) == []
    check_folder(tmp_path)


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("a file")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, reason in {
        "text": "is a file, not a folder",
        "text/out": "cannot be made, because .*text is a file",
        "link": "is a link to nothing, not a folder",
        "link/out": "cannot be made, because .*link is a link to nothing",
        "x" * 300: "cannot be made",
    }.items():
        with pytest.raises(OutputError, match=f"{reason}.*; name another place"):
            check_folder(tmp_path / name)
        with pytest.raises(OutputError, match="; name another place"):
            check_target(tmp_path / name / "clip.mp4", overwrite=True)
    with pytest.raises(OutputError, match="is a folder, not a file; name another place"):
        check_target(tmp_path, overwrite=True)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that refuses all files")
def test_a_folder_that_takes_no_file_is_named() -> None:
    for place in ("/proc/self/out", "/proc/self"):
        with pytest.raises(OutputError, match=r"no file can be written in /proc/self \("):
            check_folder(Path(place))
