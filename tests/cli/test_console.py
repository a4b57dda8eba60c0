"""Output on a terminal, and error lines and exit codes of exceptions."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import click
import pytest

from vtnstream.cli.framework.console import Console, visible
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.failures import conclude, exit_code_of, message_for, message_of
from vtnstream.cli.framework.interrupts import INTERRUPTS
from vtnstream.cli.main import main
from vtnstream.errors import (
    CheckpointError,
    ConfigError,
    MissingExtraError,
    StoreError,
    VideoOpenError,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name.mp4", "plain name.mp4"),
        ("größe 手術.mp4", "größe 手術.mp4"),
        ("two\nlines\x1b[31m", "two\\nlines\\x1b[31m"),
        ("\udcff\udcfe.mp4", "\\udcff\\udcfe.mp4"),
        ("abc\u202egp4.exe", "abc\\u202egp4.exe"),
        ("line\u2028break", "line\\u2028break"),
    ],
)
def test_names_cannot_write_to_the_terminal(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_error_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Console().error("a\nb: broken")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "vtnstream: error: a\\nb: broken\n"


@pytest.mark.parametrize(("verbosity", "count"), [(-1, 1), (0, 3), (1, 4), (2, 5)])
def test_verbosity(verbosity: int, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.verbosity = verbosity
    console.error("always")
    console.warn("unless -q")
    console.warn("unless -q")  # shown once
    console.say("unless -q")
    console.note("with -v")
    console.note("with -vv", level=2)
    assert len(capsys.readouterr().err.splitlines()) == count


def test_message_names_the_file_once() -> None:
    told = VideoOpenError("film.mp4: no such file")
    assert message_for("film.mp4", told) == "film.mp4: no such file"
    assert message_for("film.mp4", StoreError("disk full")) == "film.mp4: disk full"


def test_unexpected_exceptions_point_at_debug() -> None:
    line = message_of(TypeError("cannot add\nsecond line"))
    assert "TypeError: cannot add" in line and "--debug" in line and "second" not in line


def test_system_errors_keep_their_file() -> None:
    try:
        Path("absent/file").read_bytes()
    except OSError as error:
        assert message_of(error) == "absent/file: No such file or directory"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), ExitCode.USAGE),
        (MissingExtraError("x"), ExitCode.USAGE),
        (CheckpointError("x"), ExitCode.USAGE),
        (click.UsageError("x"), ExitCode.USAGE),
        (StoreError("x"), ExitCode.FAILED),
        (MemoryError(), ExitCode.FAILED),
        (RuntimeError("x"), ExitCode.FAILED),
    ],
)
def test_exit_codes(error: BaseException, code: ExitCode) -> None:
    assert exit_code_of(error) == code


def test_interrupts_of_any_shape_end_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    for error in (KeyboardInterrupt(), InterruptedError(4, "av.open"), click.Abort()):
        assert conclude(error, Console()) == 130
        line = capsys.readouterr().err
        assert line.startswith("vtnstream: interrupted") and line.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["timeline", "x.mp4"], "features so far are stored; run the same command to resume"),
        (["timeline", "x.mp4", "--no-cache"], "nothing was stored, because of --no-cache"),
        (["classify", "x.mp4", "--views", "10x3"], "nothing was stored"),
        (["batch", "extract", "x.mp4", "-o", "out", "--no-cache"], "complete videos are kept"),
        (["export", "x.json", "-f", "csv"], ""),
        (["plan", "x.mp4"], ""),
    ],
)
def test_an_interrupt_says_what_is_kept(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Console, "libraries", interrupt)
    assert main(arguments) == 130
    line = capsys.readouterr().err.rstrip("\n")
    assert line.startswith("vtnstream: interrupted") and said in line
    assert said or line == "vtnstream: interrupted"


def test_after_a_signal_every_exception_is_the_interrupt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(INTERRUPTS, "signum", 2)
    assert conclude(ImportError("numpy: half imported"), Console()) == 130
    assert "numpy" not in capsys.readouterr().err


def test_closed_pipe_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert conclude(BrokenPipeError(32, "Broken pipe"), Console()) == 141
    assert capsys.readouterr().err == ""


def test_traceback_only_with_debug(capsys: pytest.CaptureFixture[str]) -> None:
    for debug in (False, True):
        try:
            Path("absent").read_text()
        except OSError as error:
            conclude(error, Console(debug=debug))
        assert ("Traceback" in capsys.readouterr().err) is debug


@pytest.mark.filterwarnings("default")
def test_messages_of_libraries_need_verbose(capsys: pytest.CaptureFixture[str]) -> None:
    for verbosity, count in ((0, 0), (1, 2)):
        console = Console()
        console.verbosity = verbosity
        with console.libraries():
            warnings.warn("deprecated\nsince long", stacklevel=1)
            logging.getLogger("timm").warning("odd %s", "tag")
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == count and all(line.startswith("vtnstream: ") for line in lines)


@pytest.mark.parametrize(
    ("option", "end"),
    [("--windw", "; did you mean '--window'?"), ("--qqqqq", "")],
)
def test_an_unknown_option_suggests_only_a_near_one(
    option: str, end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["timeline", "x.mp4", option, "3"]) == 2
    assert capsys.readouterr().err == (
        f"vtnstream: error: no such option {option!r}{end} (see vtnstream timeline --help)\n"
    )
