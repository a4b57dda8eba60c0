"""Command lines in README, docs and help are valid, and the gallery is small."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.group import cli
from vtnstream.errors import ConfigError
from vtnstream.training.settings import train_config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def joined(text: str) -> str:
    """Join lines that continue on the next one."""
    return re.sub(r"\\\n\s*", "", text)


def commands_of(text: str) -> list[str]:
    """Return the command lines of ``vtnstream`` in a document, without pipes and comments."""
    text = joined(text)
    found = re.findall(r"(?m)^\s*(?:\$ |.*\| )?(vtnstream [a-z][^\n`|]*)$", text)
    found += re.findall(r"`(vtnstream [a-z]+ [^`\n]*)`", text)
    return [line.partition("  #")[0].rstrip("\\ ") for line in found]


def check(line: str) -> None:
    """Parse a command line; raise click's error for an invalid one, and ConfigError for an
    unknown key of ``--set``."""
    words = shlex.split(re.split(r"\s(?:[|>&]|<)", line)[0], comments=True)[1:]
    context: click.Context = cli.make_context("vtnstream", list(words), obj=Console())
    group: click.Command = cli
    rest = list(words)
    while isinstance(group, click.Group):
        name = rest.pop(0)
        below = group.get_command(context, name)
        assert below is not None, f"no command {name} in: {line}"
        if isinstance(below, click.Group):
            context = click.Context(below, parent=context, info_name=name, obj=Console())
        group = below
    inner = group.make_context(group.name or "", rest, parent=context)
    if group.name == "train":
        train_config(None, dict(inner.params["set"]))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_documents_are_understood(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in commands_of(document.read_text("utf-8")):
        if not {"COMMAND", "...", "bash|zsh|fish|powershell"} & set(line.split()):
            check(line)


def every_command() -> list[click.Command]:
    context = click.Context(cli)
    found: list[click.Command] = []
    waiting: list[click.Command] = [cli.get_command(context, n) for n in cli.list_commands(context)]  # type: ignore[misc]
    while waiting:
        command = waiting.pop()
        found.append(command)
        waiting += getattr(command, "commands", {}).values()
    return found


def test_examples_in_help_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [
        line
        for command in every_command()
        for line in joined(getattr(command, "examples", "").strip()).splitlines()
        if line.startswith("vtnstream ")
    ]
    assert len(lines) > 40
    for line in lines:
        check(line)


def test_a_wrong_line_is_not_understood() -> None:
    for words in (
        "timeline a.mkv --windows 64",
        "nothing",
        "models x",
        "classify --top-k no a",
        "train a.csv -o b --set optim.epoch=3",
    ):
        with pytest.raises((click.UsageError, AssertionError, ConfigError)):
            check(f"vtnstream {words}")


def test_the_gallery_is_small_and_whole() -> None:
    text = (ROOT / "docs" / "gallery.md").read_text("utf-8")
    pictures = sorted((ROOT / "docs" / "gallery").iterdir())
    assert sum(path.stat().st_size for path in pictures) < 300_000
    assert sorted(re.findall(r"\]\(gallery/([^)]+)\)", text)) == [path.name for path in pictures]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)
