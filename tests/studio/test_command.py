"""The command line of the studio."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vtnstream.cli.main import main


@pytest.mark.parametrize("words", [["--help"], ["studio", "--help"]])
def test_help_imports_no_server(words: list[str]) -> None:
    program = (
        "import sys\n"
        "from vtnstream.cli.main import main\n"
        f"main({words!r})\n"
        "heavy = {'fastapi', 'starlette', 'uvicorn', 'pydantic', 'torch', 'av'}\n"
        "sys.exit(1 if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing"], "missing: no such file or folder"),
        (["--port", "70000"], "port must be between 0 and 65535"),
        (["--videos", "missing"], "missing"),
        (["--host", "192.0.2.1", "--port", "0"], "choose another --port"),
    ],
)
def test_wrong_words_are_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VTNSTREAM_CACHE_DIR", str(tmp_path / "cache"))
    assert main(["studio", "--no-browser", *words]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and message in error[0]


def test_a_missing_library_names_its_extra(
    tmp_path: Path, monkeypatch: Any, capsys: Callable[..., Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["studio", "--no-browser"]) == 2
    assert "extra 'studio'" in capsys.readouterr().err  # type: ignore[attr-defined]
