"""Precedence of flag, variable, project file and user file, and refused settings."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.conftest import Outcome
from vtnstream.cli.commands import timeline as timeline_module
from vtnstream.cli.framework.command import Command
from vtnstream.cli.options import running, shared
from vtnstream.config import TimelineConfig

Values = Callable[..., dict[str, Any]]


@pytest.fixture
def values(run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> Values:
    """Return the values that ``timeline a.mp4`` uses with these arguments."""
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        timeline_module, "analyze_inputs", lambda console, given, localize: seen.update(given)
    )

    def values(*arguments: str) -> dict[str, Any]:
        outcome = run("timeline", "a.mp4", *arguments)
        assert outcome.code == 0, outcome.err
        return dict(seen)

    return values


def user_file(home: Path, text: str) -> Path:
    path = home / "config" / "vtnstream" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def project_file(text: str) -> Path:
    path = Path("vtnstream.toml")
    path.write_text(text)
    return path


def test_precedence(home: Path, values: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [values()["window"]]
    user_file(home, "window = 10\n")
    seen.append(values()["window"])
    user_file(home, "window = 10\n[timeline]\nwindow = 11\n")
    seen.append(values()["window"])
    project_file("window = 20\n")
    seen.append(values()["window"])
    project_file("window = 20\n[timeline]\nwindow = 21\n[classify]\ntop-k = 1\n")
    seen.append(values()["window"])
    monkeypatch.setenv("VTNSTREAM_WINDOW", "30")
    seen.append(values()["window"])
    monkeypatch.setenv("VTNSTREAM_TIMELINE_WINDOW", "31")
    seen.append(values()["window"])
    seen.append(values("--window", "40")["window"])
    assert seen == [None, 10, 11, 20, 21, 30, 31, 40]


def test_model_can_be_set_in_every_source(
    home: Path, values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file(home, 'model = "org/user"\n')
    assert values()["model"] == "org/user"
    Path("mine").mkdir()
    project_file('model = "mine"\n')
    assert values()["model"] == str(Path.cwd() / "mine")  # relative to its file
    monkeypatch.setenv("VTNSTREAM_MODEL", "org/variable")
    assert values()["model"] == "org/variable"
    assert values("-m", "org/flag")["model"] == "org/flag"


def test_project_file_applies_in_subdirectories(
    values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    project_file('window = 7\ncache-dir = "kept"\n')
    root = Path.cwd()
    Path("a/b").mkdir(parents=True)
    monkeypatch.chdir("a/b")
    assert values()["window"] is None  # a folder above may be somebody else's
    (root / ".git").mkdir()
    assert values()["window"] == 7
    assert values()["cache_dir"] == root / "kept"


def test_config_flag_replaces_the_project_file(values: Values) -> None:
    project_file("window = 1\nstride = 1\n")
    Path("other.toml").write_text("window = 2\n")
    seen = values("--config", "other.toml")
    assert (seen["window"], seen["stride"]) == (2, None)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("smoothing_size = 9", "smoothing_size", 9),
        ("fps = 0.5", "fps", 0.5),
        ('fps = "30000/1001"', "fps", Fraction(30000, 1001)),
        ('start = "1:30"', "start", "1:30"),
        ("start = 90", "start", "90"),
        ('format = ["json", "csv"]', "format", ("json", "csv")),
        ('format = "json,csv"', "format", ("json,csv",)),
        ("cache = false", "cache", False),
        ('cache-limit = "5G"', "cache_limit", 5 * 2**30),
        ("verbose = 1\nbackground = true", "background", True),
    ],
)
def test_values_of_files(values: Values, text: str, key: str, value: object) -> None:
    project_file(text + "\n")
    assert values()[key] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("windw = 3", "did you mean 'window'"),
        ("[timelin]\nwindow = 3", "did you mean 'timeline'"),
        ("[timeline]\ntop-q = 3", "did you mean 'top-k'"),
        ("[cache.prune]\nlimt = 3", "did you mean 'limit'"),
        ("window = 'wide'", "window: 'wide' is not a valid integer"),
        ("window = true", "window: True does not fit"),
        ("background = 'yes'", "background: 'yes' does not fit"),
        ("smoothing = 'mean'", "smoothing: 'mean' is not one of"),
        ("window = ", "not a TOML file"),
        ("files-from = 'x'", "no option 'files-from'"),
    ],
)
def test_refused_files_name_file_and_key(
    run: Callable[..., Outcome], text: str, message: str
) -> None:
    project_file(text + "\n")
    outcome = run("timeline", "a.mp4")
    assert outcome.code == 2
    (line,) = outcome.errors
    assert "vtnstream.toml" in line and message in line


def test_help_never_reads_files(run: Callable[..., Outcome]) -> None:
    project_file("broken = = \n")
    outcome = run("timeline", "--help")
    assert outcome.code == 0 and "Examples:" in outcome.out


def test_tables_of_nested_commands(run: Callable[..., Outcome]) -> None:
    project_file("[cache]\ncache-dir = 'here'\n[cache.prune]\nlimit = '1M'\n")
    outcome = run("cache", "list")
    assert outcome.code == 0
    assert str(Path.cwd() / "here") in outcome.err


def test_wrong_variable_is_named(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTNSTREAM_TIMELINE_WINDOW", "wide")
    outcome = run("timeline", "a.mp4")
    assert outcome.code == 2 and "VTNSTREAM_TIMELINE_WINDOW" in outcome.err


def test_unknown_variable_is_warned_about(
    run: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VTNSTREAM_DEVISE", "cuda")
    monkeypatch.setenv("VTNSTREAM_EXTRACT_FPS", "2")
    outcome = run("cache", "list")
    assert "VTNSTREAM_DEVISE" in outcome.err and "EXTRACT_FPS" not in outcome.err


def test_better_source_wins_among_options_that_exclude_each_other(
    home: Path, values: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    user_file(home, "num-frames = 250\njson = true\n")
    project_file("fps = 4\n")
    seen = values()
    assert (seen["fps"], seen["num_frames"], seen["json"]) == (4, None, True)
    monkeypatch.setenv("VTNSTREAM_SAMPLE", "keyframes")
    seen = values("--jsonl")
    assert (seen["fps"], seen["sample"], seen["json"], seen["jsonl"]) == (
        None,
        "keyframes",
        False,
        True,
    )


def test_two_flags_that_exclude_each_other(run: Callable[..., Outcome]) -> None:
    outcome = run("timeline", "a.mp4", "--fps", "2", "--num-frames", "9")
    assert outcome.code == 2
    assert "--fps and --num-frames exclude each other" in outcome.err


def test_every_default_is_the_dataclass_one() -> None:
    command = timeline_module.timeline
    defaults = {p.name: p.get_default(click.Context(command)) for p in command.params}
    assert isinstance(command, Command)
    assert shared.timeline_from(defaults) == TimelineConfig()
    assert running.runtime_from(defaults) == type(running.runtime_from(defaults))()
