"""The output of every benchmark: tables, targets and the machine."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import common, machine

ROOT = Path(__file__).resolve().parents[2]


def test_a_table_is_aligned_markdown() -> None:
    table = common.Table("Speeds", ("who", "seconds", "why"), note="as run")
    table.add("ours", 1.5, None)
    table.add("a peer", None, "not installed")
    assert table.markdown().splitlines() == [
        "### Speeds",
        "",
        "| who    | seconds | why           |",
        "| ------ | ------: | ------------- |",
        "| ours   |    1.50 | -             |",
        "| a peer |       - | not installed |",
        "",
        "as run",
    ]
    with pytest.raises(ValueError, match="2 cells for 3 columns"):
        table.add("x", 1)


@pytest.mark.parametrize(
    "cell, text",
    [
        (None, "-"),
        (float("nan"), "-"),
        (0.12345, "0.123"),
        (-12.345, "-12.35"),
        (123.456, "123.5"),
        (12345.6, "12,346"),
        (1_000_000, "1,000,000"),
        ("word", "word"),
    ],
)
def test_cells(cell: common.Cell, text: str) -> None:
    assert common.shown(cell) == text


def test_targets_report_whether_they_are_reached() -> None:
    least, most = common.Target("speed", 3.0, 3.0), common.Target("memory", 0.6, 0.5, at_most=True)
    missing = common.Target("bf16", None, 1.8, why="no bf16 units")
    assert (least.reached, most.reached, missing.reached) == (True, False, None)
    assert missing.verdict == "not measured: no bf16 units"
    assert most.verdict == "NOT REACHED"


def test_a_result_is_printed_and_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = common.Result("tried", {"runs": 3}, date="2000-01-02")
    result.table("T", "n").add(1)
    result.targets.append(common.Target("speed", 1.0, 2.0))
    result.notes.append("a remark")
    result.keep(argparse.Namespace(save=tmp_path / "new"))
    kept = (tmp_path / "new" / "tried_2000-01-02.md").read_text()
    assert "Unfinished" in kept and "### T" in kept
    result.deliver(argparse.Namespace(save=tmp_path / "new"))
    assert "Unfinished" not in (tmp_path / "new" / "tried_2000-01-02.md").read_text()
    printed = capsys.readouterr().out
    assert "NOT REACHED" in printed and "- a remark" in printed and "runs 3" in printed
    data = json.loads((tmp_path / "new" / "tried_2000-01-02.json").read_text())
    assert data["targets"][0]["reached"] is False
    assert data["tables"] == [{"title": "T", "columns": ["n"], "rows": [[1]], "note": ""}]
    assert data["machine"]["packages"]["torch"] and data["finished"]
    result.deliver(argparse.Namespace(save=None))
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_the_machine_is_described() -> None:
    found = machine.describe()
    assert found["cores"] >= 1 and found["memory_bytes"] > 2**28
    assert found["processor"] in machine.sentence(found)
    assert machine.has_bf16(["avx2", "amx_bf16"]) and not machine.has_bf16(["avx2"])
    assert "no bf16 units" in machine.sentence({**found, "vector_units": ["avx2"]})


def test_names_are_listed_and_a_wrong_one_gets_a_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main([]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in command.BENCHMARKS)
    assert command.main(["paper_tabels"]) == 2
    assert "did you mean 'paper_tables'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", command.BENCHMARKS)
def test_every_name_is_a_benchmark_with_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command.main([name, "--help"])
    assert left.value.code == 0
    assert f"python -m benchmarks {name}" in capsys.readouterr().out


def test_commands_in_documents_name_benchmarks_and_their_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/**/*.md")]
    text = "\n".join(path.read_text("utf-8").replace("\\\n", " ") for path in documents)
    found = re.findall(r"python -m benchmarks ([a-z_]+)([^`\n]*)", text)
    assert len(found) > 8
    for name, rest in found:
        with pytest.raises(SystemExit):
            command.main([name, "--help"])
        known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, (name, rest)
