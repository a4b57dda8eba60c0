"""The videos that a command line names."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from vtnstream.cli.options.input_list import Input, resolve
from vtnstream.errors import UsageError


def named(*arguments: str, **changes: Any) -> list[Input]:
    return list(_resolve(*arguments, **changes).items)


def paths(*arguments: str, **changes: Any) -> list[str]:
    items = named(*arguments, **changes)
    assert [item.error for item in items] == [None] * len(items)
    return [item.path for item in items]


def _resolve(*arguments: str, **changes: Any) -> Any:
    values = {"inputs": arguments, "recursive": False, "files_from": None, "null": False}
    return resolve({**values, **changes})


def touch(*names: str | bytes) -> None:
    for name in names:
        Path(os.fsdecode(name)).parent.mkdir(parents=True, exist_ok=True)
        Path(os.fsdecode(name)).touch()


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_files_are_taken_as_named_and_in_order() -> None:
    assert paths("b.mp4", "a.mp4", "no suffix", "b.mp4") == ["b.mp4", "a.mp4", "no suffix"]


def test_the_same_file_under_two_spellings_is_done_once() -> None:
    touch("d/a.mp4")
    assert paths("d/a.mp4", "d", "./d//a.mp4") == ["d/a.mp4"]


def test_directory_gives_its_videos_sorted_without_hidden_ones() -> None:
    touch("d/b.MKV", "d/a.mp4", "d/notes.txt", "d/._a.mp4", "d/deep/c.mov", "d/.git/x.mp4")
    assert paths("d") == ["d/a.mp4", "d/b.MKV"]
    assert paths("d", recursive=True) == ["d/a.mp4", "d/b.MKV", "d/deep/c.mov"]


def test_directory_without_video_is_an_error_that_names_recursive() -> None:
    touch("d/deep/c.mov")
    (item,) = named("d")
    assert item.error is not None and "--recursive" in item.error
    (item,) = named("d/deep/../../d/deep", recursive=True)
    assert item.error is None


def test_directory_that_links_to_itself_ends() -> None:
    touch("d/a.mp4")
    os.symlink("..", "d/loop")
    assert paths("d", recursive=True) == ["d/a.mp4"]


def test_globs_are_expanded_without_a_shell() -> None:
    touch("a.mp4", "b.mp4", "deep/er/c.mp4", "x.txt")
    assert paths("*.mp4") == ["a.mp4", "b.mp4"]
    assert paths("**/c.*") == ["deep/er/c.mp4"]
    (item,) = named("*.avi")
    assert item.error is not None and "pattern" in item.error


def test_existing_file_with_glob_characters_is_itself() -> None:
    touch("a[1].mp4", "a1.mp4")
    assert paths("a[1].mp4") == ["a[1].mp4"]


def test_list_file_keeps_odd_names_byte_for_byte() -> None:
    odd = [b"-dash.mp4", b" blank .mp4", b"Episode:1.mp4", b"\xff\xfe.mp4", "ü.mp4".encode()]
    Path("list.txt").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(odd) + b"\n\n")
    assert [os.fsencode(p) for p in paths(files_from="list.txt")] == odd


def test_nul_separated_names_may_hold_line_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"two\nlines.mp4\0b.mp4\0")
    assert paths("-", null=True) == ["two\nlines.mp4", "b.mp4"]


def test_names_on_stdin_keep_their_position(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"b.mp4\nc.mp4\n")
    assert paths("a.mp4", "-", "d.mp4") == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]


def test_forgotten_null_flag_is_pointed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"a.mp4\0b.mp4\0")
    (item,) = named("-")
    assert item.error is not None and "-0" in item.error


@pytest.mark.parametrize(
    ("arguments", "changes", "word"),
    [
        ((), {}, "no input"),
        ((), {"files_from": "absent.txt"}, "absent.txt"),
        (("-",), {"files_from": "-"}, "twice"),
        (("a.mp4",), {"null": True}, "-0"),
    ],
)
def test_wrong_requests(arguments: tuple[str, ...], changes: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        named(*arguments, **changes)


def test_empty_list_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, b"\n\n")
    with pytest.raises(UsageError, match="empty"):
        named("-")


@pytest.mark.parametrize(
    ("arguments", "changes", "single"),
    [
        (("a.mp4",), {}, True),
        (("absent.mp4",), {}, True),
        (("a.mp4", "b.mp4"), {}, False),
        (("d",), {}, False),
        (("*.mp4",), {}, False),
        ((), {"files_from": "list.txt"}, False),
    ],
)
def test_only_one_named_file_counts_as_single(
    arguments: tuple[str, ...], changes: dict[str, Any], single: bool
) -> None:
    touch("a.mp4", "d/c.mp4")
    Path("list.txt").write_text("a.mp4\n")
    assert _resolve(*arguments, **changes).single is single
