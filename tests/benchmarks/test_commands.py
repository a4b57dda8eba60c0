"""Whole commands from outside: time, memory, output and failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import memory, startup, timeline
from benchmarks.commands import Command, alternate, python, run


def test_a_command_is_timed_alone() -> None:
    done = run(python("print('x'); b = b'1' * 60 * 2**20; sum(range(3_000_000))"))
    assert done.output == "x\n"
    assert 0.02 < done.cpu <= done.wall * 4 and 60 < done.peak / 2**20 < 110


def test_commands_alternate_and_the_largest_peak_counts(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
    found = alternate({name: python(code, log, name) for name in "ab"}, 3)
    assert log.read_text() == "ababab" and set(found) == {"a", "b"}


def test_a_command_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match=r"code 3: the reason"):
        run(python("import sys; print('the reason', file=sys.stderr); sys.exit(3)"))


def test_inference_imports_no_transformers() -> None:
    assert startup.imported_by_inference() == ["av", "timm", "torch"]


def test_a_second_run_that_decodes_again_is_refused() -> None:
    def report(stored: bool, end: float) -> Command:
        data = {"run": {"from_store": stored}, "segments": [{"start": 0.0, "end": end}]}
        return Command(1.0, 1.0, 1, json.dumps(data))

    timeline.check(report(False, 2.0), report(True, 2.0))
    with pytest.raises(SystemExit, match="did not find its features"):
        timeline.check(report(False, 2.0), report(False, 2.0))
    with pytest.raises(SystemExit, match="other segments"):
        timeline.check(report(False, 2.0), report(True, 3.0))


def read(directory: Path, name: str) -> Any:
    (saved,) = directory.glob(f"{name}_*.json")
    return json.loads(saved.read_text())


@pytest.mark.slow
def test_startup(tmp_path: Path) -> None:
    startup.main(["--runs", "1", "--save", str(tmp_path)])
    data = read(tmp_path, "startup")
    rows = {row[0]: row for row in data["tables"][0]["rows"]}
    assert set(rows) == set(startup.COMMANDS)
    assert rows["import torch"][1] > rows["vtnstream --help"][1] > rows[startup.BARE][1] > 0
    assert data["targets"][1]["reached"] is True


@pytest.mark.slow
def test_timeline(tmp_path: Path) -> None:
    timeline.main(
        [
            *("--minutes", "2", "--preset", "vtn-deit-ti", "--image-size", "32", "--runs", "1"),
            *("--classes", "5", "--directory", str(tmp_path), "--save", str(tmp_path)),
        ]
    )
    data = read(tmp_path, "timeline")
    table = data["tables"][0]
    assert table["title"] == "timeline of 240 tokens"
    seconds = {row[0]: row[1] for row in table["rows"]}
    assert seconds["first"] > 0 and set(seconds) == {"first", "second", "imports alone"}
    (target,) = data["targets"]
    assert target["measured"] == pytest.approx(seconds["second"] - seconds["imports alone"])
    assert "the target is for 7,200 tokens" in target["why"]


@pytest.mark.slow
def test_memory(tmp_path: Path) -> None:
    memory.main(["--hours", "0.25", "--directory", str(tmp_path), "--save", str(tmp_path)])
    data = read(tmp_path, "memory")
    extract, added = data["tables"]
    assert [row[0] for row in extract["rows"]] == ["10 min", "0.25 h"]
    assert all(row[1] > 100 for row in extract["rows"])
    assert [(row[1], row[2]) for row in added["rows"]] == [(1800, kind) for kind in memory.KINDS]
    assert all(target["reached"] for target in data["targets"])
