from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

import pytest

from tests.report.cases import REPORT, report
from vtnstream.errors import OutputError, UsageError
from vtnstream.report import formats
from vtnstream.report.formats import WRITERS, ReportWriter, format_names
from vtnstream.report.naming import MAX_NAME_BYTES, base_name, file_name, output_names
from vtnstream.report.place import Place
from vtnstream.report.reading import read_report
from vtnstream.report.terminal.glyphs import printable
from vtnstream.report.writer import write_reports
from vtnstream.types import Report


def test_all_formats_at_once_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    paths = write_reports(REPORT, folder, format_names(["all"])).files
    assert [p.name for p in paths] == [f"movie.mkv{w.suffix}" for w in WRITERS.values()]
    assert sorted(folder.iterdir()) == sorted(paths)
    assert read_report(paths[0]).input == REPORT.input


def test_results_are_replaced_atomically_with_ordinary_permissions(tmp_path: Path) -> None:
    (path,) = write_reports(REPORT, tmp_path, ["json"]).files
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    write_reports(report(warnings=("again",)), tmp_path, ["json"])
    assert read_report(path).warnings == ("again",)
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------------------------ names


def test_inputs_with_one_name_get_different_results_in_any_order(tmp_path: Path) -> None:
    inputs = ["a/movie.mkv", "b/movie.mkv", "c/Movie.mkv", "other.mp4"]
    names = output_names(inputs)
    assert names == output_names(reversed(inputs))
    assert len({name.casefold() for name in names.values()}) == 4
    assert names["other.mp4"] == "other.mp4"
    assert names["a/movie.mkv"].startswith("movie.mkv.")
    for path in inputs:
        write_reports(report(input=path), tmp_path, ["csv", "json"], inputs=inputs)
    assert len(list(tmp_path.iterdir())) == 8
    found = {read_report(p).input for p in tmp_path.glob("*.json")}
    assert found == set(inputs)


def test_one_input_named_twice_is_one_result() -> None:
    names = output_names(["movie.mkv", "./movie.mkv", os.path.abspath("movie.mkv")])
    assert set(names.values()) == {"movie.mkv"}


def test_a_later_command_does_not_overwrite_another_inputs_result(tmp_path: Path) -> None:
    (first,) = write_reports(report(input="a/movie.mkv"), tmp_path, ["json"]).files
    (second,) = write_reports(report(input="b/movie.mkv"), tmp_path, ["json"]).files
    assert first.name == "movie.mkv.json" and second != first
    (again,) = write_reports(report(input="a/movie.mkv"), tmp_path, ["json"]).files
    (once_more,) = write_reports(report(input="b/movie.mkv"), tmp_path, ["json"]).files
    assert (again, once_more) == (first, second)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("films/movie.mkv", "movie.mkv"),
        ("movie", "movie"),
        ("a.tar.gz", "a.tar.gz"),
        (".hidden.mkv", ".hidden.mkv"),
        ("-", "stdin"),
        ("films/", "films"),
        ("/", "video"),
        ("..", "video"),
        ("https://example.org/a/b%20c.mp4?token=1#x", "b c.mp4"),
        ("https://example.org/a%2Fb.mp4", "b.mp4"),
        ("rtsp://camera", "camera"),
    ],
)
def test_base_names(path: str, name: str) -> None:
    assert base_name(path) == name


@pytest.mark.parametrize("letter", ["x", "é", "切", "🎬", "\udcff"])
def test_names_fit_the_file_system(letter: str, tmp_path: Path) -> None:
    width = len(os.fsencode(letter))
    longest = letter * ((MAX_NAME_BYTES - 4) // width) + ".mkv"
    name = file_name(longest, ".json")
    assert len(os.fsencode(name)) <= MAX_NAME_BYTES
    assert name.endswith(".json")
    assert name != file_name(longest + "2", ".json")
    paths = write_reports(report(input=longest), tmp_path, format_names(["all"])).files
    refused = 0 if printable(longest) == longest else 1  # annotations of a path with no text
    assert len({p.name for p in paths}) == len(WRITERS) - refused
    assert json.loads(paths[0].read_bytes())["input"] == longest
    assert file_name("short.mkv", ".json") == "short.mkv.json"


# --------------------------------------------------------------------------- failures


def _failing(at: str) -> ReportWriter:
    def write(one: Report, place: Place, file: BinaryIO) -> None:
        file.write(b"half a res")
        if at == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise KeyboardInterrupt

    return ReportWriter(".csv", write)


@pytest.mark.parametrize("at", ["write", "interrupt"])
def test_a_failure_leaves_the_old_results_and_nothing_half_written(
    at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reports(REPORT, tmp_path, ["json", "csv"])
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(formats, "WRITERS", {**WRITERS, "csv": _failing(at)})
    changed = dataclasses.replace(REPORT, warnings=("new",))
    with pytest.raises((OutputError, KeyboardInterrupt)) as caught:
        write_reports(changed, tmp_path, ["json", "csv"])
    if at == "write":
        assert str(caught.value).startswith(str(tmp_path / "movie.mkv.csv"))
        assert "No space left" in str(caught.value)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_places_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(OutputError, match="file: cannot be made") as caught:
        write_reports(REPORT, file, ["json"])
    assert isinstance(caught.value, OSError) and "\n" not in str(caught.value)
    (tmp_path / "movie.mkv.json").mkdir()
    with pytest.raises(OutputError, match=r"movie.mkv.json: cannot be replaced"):
        write_reports(REPORT, tmp_path, ["json"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "movie.mkv.json"]
    with pytest.raises(UsageError, match="unknown format"):
        write_reports(REPORT, tmp_path, ["pdf"])
