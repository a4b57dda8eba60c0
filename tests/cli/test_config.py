"""Settings shown with their sources, completion scripts, and the log file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from .conftest import Outcome

Run = Callable[..., Outcome]


def test_each_setting_names_its_source(
    run: Run, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    user = home / "config" / "vtnstream"
    user.mkdir(parents=True)
    (user / "config.toml").write_text('dtype = "float32"\n[timeline]\nwindow = 16\n')
    Path("vtnstream.toml").write_text("[timeline]\nstride = 8\nwindow = 24\n")
    monkeypatch.setenv("VTNSTREAM_TIMELINE_MERGE_GAP", "2.5")
    outcome = run("config", "show", "timeline", "--json")
    assert outcome.code == 0, outcome.err
    found = {row["option"]: (row["value"], row["from"]) for row in json.loads(outcome.out)}
    assert found["stride"] == (8, str(Path("vtnstream.toml").absolute()))
    assert found["window"] == (24, str(Path("vtnstream.toml").absolute()))
    assert found["dtype"] == ("float32", str(user / "config.toml"))
    assert found["merge-gap"] == ("2.5", "VTNSTREAM_TIMELINE_MERGE_GAP")
    assert "smoothing" not in found
    everything = json.loads(run("config", "show", "timeline", "--all", "--json").out)
    assert {"option": "smoothing", "value": "none", "command": "timeline", "from": "default"} in (
        everything
    )
    assert {row["command"] for row in json.loads(run("config", "show", "cache", "--json").out)} <= {
        "cache list",
        "cache prune",
    }


def test_nothing_set_and_no_such_command(run: Run) -> None:
    assert "nothing is set" in run("config", "show").err
    outcome = run("config", "show", "timelin")
    assert outcome.code == 2
    assert "did you mean 'timeline'" in outcome.errors[0]


CLICK = tuple(int(part) for part in version("click").split(".")[:2])
POWERSHELL = pytest.param("powershell", marks=pytest.mark.skipif(CLICK < (8, 5), reason="click"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", POWERSHELL])
def test_completion_scripts(run: Run, shell: str) -> None:
    outcome = run("completion", shell)
    assert outcome.code == 0, outcome.err
    assert "_VTNSTREAM_COMPLETE" in outcome.out


def test_completion_completes(tmp_path: Path) -> None:
    asked = {
        "_VTNSTREAM_COMPLETE": "bash_complete",
        "COMP_WORDS": "vtnstream tim",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "vtnstream"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "plain,timeline" in done.stdout


def test_log_file_has_messages_that_quiet_hides(run: Run, broken: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    arguments = ("plan", broken, "--backbone", "test_vit", "-q", "--log-file", log)
    first = run(*arguments)
    assert first.code != 0
    text = log.read_text()
    assert " error: " in text and str(broken) in text
    assert text[:4].isdigit()
    run(*arguments)
    assert len(log.read_text().splitlines()) == 2 * len(text.splitlines())
    outcome = run("plan", broken, "--log-file", tmp_path / "no" / "run.log")
    assert "cannot be written" in outcome.errors[0]
