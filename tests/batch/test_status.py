"""Status lines on disk: complete, incomplete, of several shards, on a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vtnstream.batch.shard import Shard
from vtnstream.batch.status import (
    SCHEMA,
    StatusFile,
    StatusLine,
    StatusObjects,
    Summary,
    latest,
    open_log,
)
from vtnstream.batch.storage import open_storage
from vtnstream.batch.workers.outcome import CODES, Outcome
from vtnstream.errors import OutputError, UsageError

LINE = StatusLine("a.mp4", "/films/a.mp4", "done", "ok", finished="2026-01-01T00:00:00.000Z")


def later(line: StatusLine, **changes: object) -> StatusLine:
    return replace(line, finished="2026-01-01T00:00:01.000Z", **changes)  # type: ignore[arg-type]


def test_a_status_line_holds_the_whole_outcome() -> None:
    outcome = Outcome(
        "dir/\udcff\n.mp4",
        "partial",
        "partial",
        seconds=1.23456,
        partial={"reasons": ["a hole"], "seconds_read": 1.0, "seconds_expected": None},
        outputs={"\udcff_.mp4.json": 12},
        file={"size_bytes": 3},
        warnings=("w",),
        traceback="t",
        attempts=2,
    )
    line = StatusLine.of(outcome, key="k", shard="1/2", manifest="m")
    text = line.as_json()
    assert text.isascii() and "\n" not in text
    document = json.loads(text)
    assert document["schema"] == SCHEMA
    assert document["path"] == os.path.abspath("dir/\udcff\n.mp4")
    assert document["seconds"] == 1.235
    assert "traceback" not in document and "warnings" not in document
    assert StatusLine.from_json(text) == line


def test_every_code_is_explained() -> None:
    assert all(text and text == text.strip() for text in CODES.values())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "1", '{"schema": "other/1", "status": "done"}', '"x"' * 3, "null"]
)
def test_other_lines_are_skipped(text: str) -> None:
    assert StatusLine.from_json(text) is None


def test_keys_of_later_versions_are_ignored() -> None:
    text = LINE.as_json(colour="blue")
    assert StatusLine.from_json(text) == LINE


def test_lines_are_appended_and_the_last_one_counts(tmp_path: Path) -> None:
    with StatusFile(tmp_path) as log:
        log.append(replace(LINE, status="failed", code="open"))
        log.append(later(LINE))
    with StatusFile(tmp_path) as log:
        log.append(replace(LINE, path="/films/b.mp4"))
        found = latest(log.lines())
    assert len((tmp_path / "status.jsonl").read_text().splitlines()) == 3
    assert found["/films/a.mp4"].status == "done" and set(found) == {"/films/a.mp4", "/films/b.mp4"}


@pytest.mark.parametrize("kept", [0, 1, 40, -2])
def test_an_incomplete_line_is_skipped(kept: int, tmp_path: Path) -> None:
    whole = LINE.as_json().encode() + b"\n"
    (tmp_path / "status.jsonl").write_bytes(whole + whole[:kept])
    with StatusFile(tmp_path) as log:
        log.append(later(LINE, path="/films/b.mp4"))
        assert [line.path for line in log.lines()] == ["/films/a.mp4", "/films/b.mp4"]


def test_shards_write_files_of_their_own_and_are_read_together(tmp_path: Path) -> None:
    for index in (1, 2, 10):
        with StatusFile(tmp_path, Shard(index, 10)) as log:
            log.append(replace(LINE, path=f"/films/{index}.mp4"))
    assert (tmp_path / "status-02-of-10.jsonl").exists()
    (tmp_path / "status-notes.jsonl").write_text(LINE.as_json())
    with StatusFile(tmp_path) as log:
        assert {line.path for line in log.lines()} == {
            "/films/1.mp4",
            "/films/2.mp4",
            "/films/10.mp4",
        }
    assert not (tmp_path / "status.jsonl").exists(), "reading writes nothing"


def test_two_batches_never_write_one_file(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from vtnstream.batch.status import StatusFile\n"
        "with StatusFile(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None and other.stdout.readline() == b"in\n"
    with pytest.raises(UsageError, match="another batch is writing to it"), StatusFile(tmp_path):
        pass
    with StatusFile(tmp_path, Shard(1, 2)):
        pass
    other.kill()
    other.communicate()
    with StatusFile(tmp_path) as log:
        log.append(LINE)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "status.jsonl").symlink_to("/dev/full")
    with StatusFile(tmp_path) as log, pytest.raises(OutputError, match="No space left on device"):
        log.append(LINE)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "status.jsonl").mkdir()
    with StatusFile(tmp_path) as log, pytest.raises(OutputError, match="cannot be written"):
        log.append(LINE)


def test_in_an_object_store_each_video_is_one_object() -> None:
    storage = open_storage("memory://status-objects/run")
    with open_log(storage, None) as log:
        assert isinstance(log, StatusObjects)
        log.append(replace(LINE, status="failed", code="open"))
        log.append(LINE)
        log.append(replace(LINE, path="/films/\udcff.mp4"))
        assert latest(log.lines())["/films/a.mp4"] == LINE
    assert len(storage.sizes("status")) == 2


def test_a_summary_includes_earlier_runs() -> None:
    summary = Summary.of([LINE, replace(LINE, status="failed")])
    summary.count("partial", skipped=True)
    assert summary.describe() == (
        "3 videos: 1 done, 1 partial, 1 failed (1 of them in an earlier run)"
    )
    assert Summary().describe() == "0 videos"
