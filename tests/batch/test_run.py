"""Processing, skipping and recording videos of a batch over several runs."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.batch import fake_executors
from vtnstream.batch.manifest import Input, read_manifest
from vtnstream.batch.run import Batch, run_batch
from vtnstream.batch.shard import Shard
from vtnstream.batch.status import StatusLine, Summary, open_log
from vtnstream.batch.storage import open_storage
from vtnstream.batch.workers.local import LocalPool
from vtnstream.batch.workers.outcome import Outcome
from vtnstream.config.batch import BatchConfig
from vtnstream.errors import OutputError


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def videos(*names: str) -> list[str]:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(name.encode() * 100)
    return list(names)


def batch(
    *names: str, key: str = "settings", shard: Shard | None = None, **config: Any
) -> tuple[Summary, dict[str, str]]:
    """Run a batch; return ``{input: status}`` of the processed videos, in order."""
    settings = BatchConfig(**{"workers": 1, "retries": 0, **config})
    done: dict[str, str] = {}

    def hear(line: StatusLine, outcome: Outcome | None) -> None:
        if outcome is not None:
            done[line.input] = line.status

    Path("out").mkdir(exist_ok=True)
    pool = LocalPool(partial(fake_executors.executor_of_settings, key, Path("out")), settings)
    storage = open_storage("out")
    with open_log(storage, shard) as log:
        inputs = read_manifest(names)
        summary = run_batch(Batch(inputs, (".txt",), storage, log, shard, settings), pool, hear)
    return summary, done


def recorded(name: str = "status.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("out", name).read_text().splitlines()]


def test_a_rerun_processes_only_missing_videos() -> None:
    names = videos("a.mp4", "b.mp4", "partial.mp4", "fail.mp4")
    summary, done = batch(*names)
    assert done == dict(zip(names, ["done", "done", "partial", "failed"], strict=True))
    summary, done = batch(*names)
    assert done == {} and len(recorded()) == 4
    assert summary == Summary(num_done=2, num_partial=1, num_failed=1, num_skipped=4)
    summary, done = batch(*names, *videos("c.mp4"))
    assert done == {"c.mp4": "done"}
    assert batch("fail.mp4", "a.mp4", retry_failed=True)[1] == {"fail.mp4": "failed"}
    assert batch("a.mp4", overwrite=True)[1] == {"a.mp4": "done"}


def test_changed_settings_repeat_all_videos() -> None:
    names = videos("a.mp4", "fail.mp4")
    batch(*names)
    assert list(batch(*names, key="others")[1]) == names
    assert batch(*names, key="others")[1] == {}
    assert list(batch(*names)[1]) == names, "the results there now are of the others"


def test_a_changed_file_is_repeated() -> None:
    (name,) = videos("a.mp4")
    batch(name)
    stamps = os.stat(name)

    def keep_times() -> None:
        os.utime(name, ns=(stamps.st_atime_ns, stamps.st_mtime_ns))

    os.chmod(name, 0o600)
    os.rename(name, "other")
    os.rename("other", name)
    assert batch(name)[1] == {}, "neither rights nor names are its content"
    Path(name).write_bytes(b"x" * stamps.st_size)
    keep_times()
    assert batch(name)[1] == {name: "done"}, "same size, same time, other bytes"
    Path(name).touch()
    assert batch(name)[1] == {name: "done"}
    with open(name, "ab") as file:
        file.write(b"more")
    keep_times()
    assert batch(name)[1] == {name: "done"}


def test_a_lost_or_truncated_result_is_repeated() -> None:
    names = videos("a.mp4", "b.mp4", "c.mp4")
    batch(*names)
    Path("out/a.mp4.txt").unlink()
    Path("out/b.mp4.txt").write_text("")
    assert list(batch(*names)[1]) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("name", ["abort.mp4", "sleep.mp4", "grow.mp4"])
def test_a_video_that_killed_its_worker_is_skipped_next_time(name: str) -> None:
    limits: dict[str, Any] = {"timeout": 0.5, "memory_limit_bytes": 300 * 2**20}
    videos(name, "after.mp4")
    assert batch(name, "after.mp4", **limits)[1] == {name: "failed", "after.mp4": "done"}
    assert batch(name, "after.mp4", **limits)[1] == {}
    assert batch(name, retry_failed=True, **limits)[1] == {name: "failed"}


@pytest.mark.parametrize(("code", "again"), [("store", True), ("decode", False)])
def test_system_failures_are_repeated_by_a_rerun(code: str, again: bool) -> None:
    names = videos("a.mp4")
    batch(*names)
    line = StatusLine.from_json(json.dumps(recorded()[0]))
    assert line is not None
    with open_log(open_storage("out"), None) as log:
        log.append(replace(line, status="failed", code=code, error="a.mp4: full"))
    assert batch(*names)[1] == ({"a.mp4": "done"} if again else {})


def test_names_without_a_video_have_status_lines() -> None:
    videos("a.mp4")
    summary, done = batch("a.mp4", "no*.mp4")
    assert done == {"no*.mp4": "failed", "a.mp4": "done"}
    assert summary.num_failed == 1
    assert [line["code"] for line in recorded()] == ["input", "ok"]
    assert recorded()[0]["error"] == "no*.mp4: no file matches this pattern"


def test_fail_fast_stops_at_the_first_failure() -> None:
    names = videos("a.mp4", "fail.mp4", "b.mp4")
    assert batch(*names, fail_fast=True)[1] == {"a.mp4": "done", "fail.mp4": "failed"}
    assert batch(*names)[1] == {"b.mp4": "done"}


def test_shards_together_process_all_videos() -> None:
    names = videos(*(f"{letter}.mp4" for letter in "abcdefg"))
    for index in (3, 1, 2):
        batch(*reversed(names), shard=Shard(index, 3))
    shares = [recorded(f"status-{i}-of-3.jsonl") for i in (1, 2, 3)]
    assert sorted(map(len, shares)) == [2, 2, 3]
    assert {line["shard"] for line in shares[0]} == {"1/3"}
    assert len({line["manifest"] for share in shares for line in share}) == 1
    assert batch(*names)[1] == {}
    assert Counter(path.suffix for path in Path("out").iterdir())[".txt"] == 7


def test_the_same_name_in_many_folders_is_many_results() -> None:
    names = videos(*(f"{number}/video.mp4" for number in range(5)))
    batch(*names, workers=2)
    outputs = {line["input"]: list(line["outputs"]) for line in recorded()}
    assert set(outputs) == set(names)
    assert len({name for (name,) in outputs.values()}) == 5
    shutil.rmtree("0")
    assert batch(*names[1:])[1] == {}


def test_a_record_that_cannot_be_written_ends_the_batch() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    names = videos("a.mp4", "b.mp4")
    Path("out").mkdir()
    Path("out/status.jsonl").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="No space left"):
        batch(*names)
    Path("out/status.jsonl").unlink()
    assert list(batch(*names)[1]) == names


def test_an_input_is_identified_by_its_absolute_path(monkeypatch: pytest.MonkeyPatch) -> None:
    videos("folder/a.mp4")
    batch("folder/a.mp4")
    assert batch("folder", "./folder//a.mp4", os.path.abspath("folder/a.mp4"))[1] == {}
    assert Input("folder/a.mp4").absolute == os.path.abspath("folder/a.mp4")
