"""The live display and reports on a real terminal (a pty), and Ctrl-C during the work."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Outcome
from tests.faults.warm import WarmCommand
from tests.patience import HANG, at_most

COMMAND = [sys.executable, "-m", "vtnstream"]
SLOW = ("--backbone", "resnet18", "--fps", "10", "--batch-size", "2", "--threads", "1")


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommand]:
    with WarmCommand(tmp_path_factory.mktemp("warm")) as warm:
        yield warm


ON_TERMINAL = """
import os, sys
os.chdir({folder!r})
os.setsid()
terminal = os.open({name!r}, os.O_RDWR)  # becomes the terminal of the session
for number in range(3):
    os.dup2(terminal, number)
for name in ("COLUMNS", "NO_COLOR"):
    os.environ.pop(name, None)
sys.stdout.reconfigure(line_buffering=True)
"""


def spawn(warm: WarmCommand, arguments: list[str], columns: int) -> tuple[int, int]:
    """Start a command on a terminal of this width; return its process and the other side."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    program = ON_TERMINAL.format(folder=os.getcwd(), name=os.ttyname(child))
    environment = {**os.environ, "TERM": "xterm-256color"}
    pid = warm.start(*arguments, program=program, environment=environment)
    assert select.select([parent], [], [], HANG)[0]  # the command has the terminal, too
    os.close(child)
    return pid, parent


def read_until(parent: int, pattern: str, seconds: float = HANG) -> str:
    """Return the output of the terminal until ``pattern`` or the end."""
    text, deadline = "", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([parent], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(parent, 65536)
        except OSError:  # the other side has closed
            return text
        if not data:
            return text
        text += data.decode(errors="replace")
        if pattern and re.search(pattern, text):
            return text
    raise AssertionError(f"no {pattern!r} in {text!r}")


def lines(text: str) -> list[str]:
    """Return the lines of the terminal, without control sequences."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_live_progress_fits_and_shows_rate_and_time_left(
    warm: WarmCommand, video: Path, columns: int
) -> None:
    command = ["extract", str(video), *SLOW, "-o", "f.safetensors", "--no-cache"]
    process, parent = spawn(warm, command, columns)
    try:
        text = read_until(parent, r"\d left")
    finally:
        os.kill(process, signal.SIGKILL)
        warm.end(process)
        os.close(parent)
    live = [line for line in lines(text) if "%" in line]
    assert live and all(len(line) <= columns for line in live)
    assert "film one" in live[-1] and " left" in live[-1]
    assert ("frames/s" in live[-1]) is (columns >= 72)
    assert ("━" in live[-1]) is (columns >= 60)


def test_report_replaces_the_live_display(
    warm: WarmCommand, video: Path, model_folder: Path
) -> None:
    process, parent = spawn(warm, ["timeline", str(video), "-m", str(model_folder)], 80)
    text = read_until(parent, "")
    assert warm.end(process).code == 0
    os.close(parent)
    assert "\x1b[?25l" in text and "\x1b[?25h" in text  # the cursor was hidden and is back
    shown = lines(text[text.rindex("\x1b[?25h") :])
    assert any("wild" in line for line in shown)
    assert all(len(line) <= 80 for line in shown)
    assert not any("%" in line and "left" in line for line in shown)


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_in_the_middle_ends_quietly_and_resumes(
    warm: WarmCommand, video: Path, terminal: bool, run: Callable[..., Outcome]
) -> None:
    arguments = ["extract", str(video), *SLOW, "-o", "f.safetensors"]
    if terminal:
        pid, parent = spawn(warm, arguments, 80)
        read_until(parent, r"\d left")
        began = time.monotonic()
        os.killpg(pid, signal.SIGINT)
        text = read_until(parent, "")
        code = warm.end(pid).code
        os.close(parent)
    else:
        process = subprocess.Popen(
            [*COMMAND, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stderr is not None
        assert b"started" in process.stderr.readline() + process.stderr.readline()
        time.sleep(0.5)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANG)
        assert out == b""
        text, code = err.decode(), process.returncode
    assert time.monotonic() - began < at_most(2)
    assert code == 130
    assert "interrupted" in lines(text)[-1] and "Traceback" not in text
    assert not Path("f.safetensors").exists()
    assert run("cache", "list").code == 0


def test_plain_lines_are_printed_at_once_without_a_terminal(video: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "extract", str(video), *SLOW, "-o", "f.safetensors", "--no-cache"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert process.stderr is not None
    seen = [process.stderr.readline().decode() for _ in range(3)]
    process.kill()
    process.communicate()
    assert "random weights" in seen[0]
    assert "started, 400 frames" in seen[1]
    assert "\x1b" not in "".join(seen)


def test_no_colour_without_a_terminal_or_with_no_color(
    video: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        [*COMMAND, "timeline", str(video), "-m", str(model_folder)],
        capture_output=True,
        timeout=HANG,
    )
    assert done.returncode == 0 and b"\x1b" not in done.stdout + done.stderr


def test_reader_that_leaves_after_the_first_result(video: Path, model_folder: Path) -> None:
    line = '"$0" -m vtnstream timeline "$1" "$1" "$1" -m "$2" --jsonl -q | head -n 1'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, str(video), str(model_folder)],
        capture_output=True,
        timeout=HANG,
    )
    assert done.stderr == b""
    assert done.stdout.count(b"\n") == 1
