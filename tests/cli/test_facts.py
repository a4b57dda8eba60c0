"""``models`` and ``doctor``: lists of models, and checks of the installation."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.cli.conftest import Outcome
from vtnstream.cli.framework.group import COMMANDS, cli
from vtnstream.cli.framework.types import complete_formats
from vtnstream.inference.model_facts import may_have_gpu

Run = Callable[..., Outcome]


def test_models_lists_presets_and_trained_folders(run: Run, model_folder: Path) -> None:
    shutil.copytree(model_folder, "models/mine")
    shutil.copytree(model_folder, "broken")
    Path("broken/config.json").write_text("{")
    outcome = run("models", "list", "--json")
    assert outcome.code == 0
    found = {item["name"]: item["kind"] for item in json.loads(outcome.out)}
    assert found["vtn-vit-b"] == "preset" and found["models/mine"] == "trained"
    assert "broken" in outcome.err and "broken" not in found
    assert "models/mine" in run("models", "list").out


def test_models_shows_presets_and_folders(run: Run, model_folder: Path) -> None:
    shown = json.loads(run("models", "show", "vtn-deit-ti", "--json").out)
    assert round(shown["parameters"]["all"] / 1e6) == 10  # the paper's table 3
    text = run("models", "show", model_folder).out
    assert "calm, wild" in text and "test_vit img_size=64" in text
    outcome = run("models", "show", "vtn-vit-bb")
    assert outcome.code == 2 and len(outcome.errors) == 1


@pytest.mark.parametrize("width", [60, 80])
def test_tables_fit_and_break_no_name(
    run: Run, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = run("models", "list").out
    assert "()" not in wide and max(map(len, wide.splitlines())) > 80
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = run("models", "list").out
    for line in narrow.splitlines():
        assert len(line) <= width or len(line.split()) <= 2, line
    assert narrow.split().count("vtn-deit-ti") == 1
    assert sorted({word for word in wide.split() if len(word) > 12} - set(narrow.split())) == []


def test_narrow_help_can_be_copied(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("train", "evaluate", "extract", "timeline"):
        text = run(name, "--help").out
        long = [line for line in text.splitlines() if len(line) > 60]
        assert [line for line in long if len(line.split()) > 2] == []
        examples = text.partition("Examples:")[2].replace("\\\n", " ")
        command = cli.get_command(None, name)  # type: ignore[arg-type]
        expected = command.examples.replace("\\\n", " ")  # type: ignore[union-attr]
        assert examples.split() == expected.split()


def test_backbones_by_pattern(run: Run) -> None:
    outcome = run("models", "list", "--backbones", "deit_tiny*", "--json")
    assert "deit_tiny_patch16_224" in json.loads(outcome.out)


def test_doctor_tells_the_facts(run: Run) -> None:
    outcome = run("doctor", "--json")
    facts = json.loads(outcome.out)
    assert outcome.code == 0, outcome.err
    assert facts["problems"] == []
    assert facts["packages"]["torch"] and facts["decoding"]["ffmpeg"]
    assert facts["devices"]["cpu"]["cores"] >= 1 and facts["cache"]["free_bytes"] > 0
    backbone = facts["devices"]["cpu"]["backbone"]
    assert backbone["dtype"] in ("float32", "bfloat16")
    assert "NVIDIA GPU" in backbone["missing"]["tensorrt"]
    assert (backbone["backend"] == "inductor") == ("inductor" not in backbone["missing"])
    expected = "torch" if may_have_gpu() else "numpy, float32 on cpu, without torch"
    assert json.loads(outcome.out)["bundled_model"] == expected
    text = run("doctor").out
    assert "h264" in text and f"{backbone['backend']} for long videos" in text


def test_doctor_finds_an_unwritable_cache(run: Run) -> None:
    Path("file").touch()
    outcome = run("doctor", "--cache-dir", "file/below")
    assert outcome.code == 1
    assert any("--cache-dir" in line for line in outcome.errors)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(run: Run, name: str) -> None:
    outcome = run(name, "--help")
    assert outcome.code == 0
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    for below in getattr(command, "commands", {}) or [None]:
        text = run(name, below, "--help").out if below else outcome.out
        assert "Examples:" in text and f"vtnstream {name}" in text
        assert max(map(len, text.splitlines())) <= 110


@pytest.mark.parametrize("arguments", [[], ["cache"], ["models"]])
def test_no_command_shows_the_help_on_stderr(run: Run, arguments: list[str]) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Commands:\n" in outcome.err and "\\n" not in outcome.err


def test_unknown_command_has_a_suggestion(run: Run) -> None:
    outcome = run("clasify", "a.mp4")
    assert outcome.code == 2 and "did you mean 'classify'" in outcome.err


def test_help_and_the_version_by_their_usual_names(run: Run) -> None:
    assert run("-V").out == run("--version").out
    assert run("help").out == run("--help").out
    assert run("help", "timeline").out == run("timeline", "--help").out
    assert run("help", "timelin").code == 2


def test_doctor_lists_every_extra(run: Run) -> None:
    with (Path(__file__).resolve().parents[2] / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["optional-dependencies"]
    assert json.loads(run("doctor", "--json").out)["extras"].keys() == declared.keys()


def test_formats_complete_after_a_comma() -> None:
    command = click.Command("timeline")
    context = click.Context(command)
    found = complete_formats(context, click.Option(["-f"]), "json,c")
    assert [item.value for item in found] == [
        "json,csv",
        "json,chapters",
        "json,cvat",
        "json,contact-sheet",
    ]
    found = complete_formats(context, click.Option(["-f"]), "a")
    assert [item.value for item in found] == ["all", "activitynet"]
