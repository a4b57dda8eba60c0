"""The command line of the studio."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.patience import HANG
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
        (["film.mp4"], "film.mp4: is neither a folder nor a result: name a folder of videos or"),
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
    Path("film.mp4").write_bytes(b"a video\xff")
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


def test_two_signals_print_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vtnstream", "studio", str(tmp_path), "--port", "0"]
    process = subprocess.Popen([*command, "--no-browser"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    address = urlsplit(process.stderr.readline().split()[2])
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")  # a request that the server waits for
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=HANG)
    assert said in ("", "vtnstream: the studio has ended; all corrections are saved\n")
