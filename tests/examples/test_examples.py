"""The scripts in ``examples/`` run as they are and print what their texts promise."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(tmp_path / "cache"))


def output(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    """The lines that a script prints."""
    monkeypatch.setattr(sys, "argv", [name])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out.splitlines()


def test_shots(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split() for line in output("shots.py", monkeypatch, capsys)]
    assert {row[2] for row in rows} == {"shot"}
    assert [float(row[0]) for row in rows] == [0, 3, 5, 7.5]
    assert float(rows[-1][1]) == pytest.approx(10.5, abs=0.1)


def test_own_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split() for line in output("own_model.py", monkeypatch, capsys)]
    assert [row[2] for row in rows] == ["dot", "stripes", "dot"]
    assert [float(row[0]) for row in rows] == pytest.approx([0, 6, 13], abs=1)


def test_many_questions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = output("many_questions.py", monkeypatch, capsys)
    assert [line.rpartition("from ")[2] for line in lines[:3]] == ["the video"] + [
        "stored features"
    ] * 2
    assert lines[-1].endswith("5.0 to 10.0 s")


def test_features(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    count, whole, *rows = output("features.py", monkeypatch, capsys)
    assert (count, whole) == ("40 features of 96 numbers", "the whole video was read")
    alike = [float(row.split()[2]) for row in rows]
    assert min(alike[20:30]) > 0.8 > 0.5 > max(alike[8:20] + alike[30:])


def test_damaged_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    whole, partial, absent = output("damaged_file.py", monkeypatch, capsys)
    assert whole == "whole.ts: whole"
    assert partial.startswith("damaged.ts: partial: ")
    assert absent.startswith("absent.mp4: error: ") and "absent.mp4" in absent


def test_every_example_is_run_and_listed() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")} - {"generated.py"}
    here = Path(__file__).read_text("utf-8")
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    assert all(f'"{name}"' in here and f"`{name}`" in listed for name in scripts)
