"""Completion in the shells themselves, where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import HANG

# zsh completes only for a terminal: this shows one the keys and prints what comes back.
TYPIST = """
import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp("zsh", ["zsh", "-f", "-i"])
def heard(wanted, seconds):
    text, end = "", time.time() + seconds
    while time.time() < end and wanted not in text:
        if select.select([fd], [], [], 0.2)[0]:
            text += os.read(fd, 65536).decode(errors="replace")
    return text
os.write(fd, b"autoload -Uz compinit; compinit -u; source completion.zsh; echo rea''dy\\n")
heard("ready", 200)
os.write(fd, sys.argv[1].encode() + b"\\t")
print(heard(sys.argv[2], 200))
os.write(fd, b"\\x15exit\\n")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a video and the completion scripts; ``vtnstream`` is on the path."""
    program = tmp_path / "bin" / "vtnstream"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vtnstream "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "match of the day.mkv").touch()
    for shell in ("bash", "zsh", "fish"):
        script = subprocess.run([program, "completion", shell], capture_output=True, check=True)
        (folder / f"completion.{shell}").write_bytes(script.stdout)
    monkeypatch.chdir(folder)
    return folder


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"needs {shell}")


def output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG, check=False)
    return done.stdout + done.stderr


@needs("bash")
def test_bash(place: Path) -> None:
    def completed(*words: str) -> str:
        line = " ".join(f"'{word}'" for word in words)
        script = f"source completion.bash; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1};"
        script += 'compopt() { echo "compopt $*"; }; _vtnstream_completion vtnstream; '
        script += 'printf "%s\\n" "${COMPREPLY[@]}"'
        return output("bash", "--norc", "-c", script)

    assert completed("vtnstream", "tim") == "timeline\n"
    assert completed("vtnstream", "timeline", "--localize", "d") == "dense\n"
    assert completed("vtnstream", "models", "li") == "list\n"
    # Names of files are left to bash, which does not complete for a script that asks.
    assert completed("vtnstream", "timeline", "mat").split() == ["compopt", "-o", "default"]


@needs("fish")
def test_fish(place: Path) -> None:
    def completed(line: str) -> list[str]:
        script = f"source completion.fish; complete -C '{line}'"
        found = output("fish", "--no-config", "-c", script)
        return [text.partition("\t")[0] for text in found.splitlines()]

    assert completed("vtnstream tim") == ["timeline"]
    assert completed("vtnstream timeline --localize d") == ["dense"]
    assert completed("vtnstream timeline mat") == ["match\\ of\\ the\\ day.mkv"] or completed(
        "vtnstream timeline mat"
    ) == ["match of the day.mkv"]


@needs("zsh")
def test_zsh(place: Path) -> None:
    def completed(line: str, wanted: str) -> str:
        return output(sys.executable, "-c", TYPIST, line, wanted)

    assert "timeline" in completed("vtnstream tim", "timeline")
    assert "dense" in completed("vtnstream timeline --localize d", "dense")
    assert "match\\ of\\ the\\ day.mkv" in completed("vtnstream timeline mat", "day.mkv")
