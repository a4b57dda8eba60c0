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
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "vtnstream"]
SLOW = ("--backbone", "resnet18", "--fps", "10", "--batch-size", "2", "--threads", "1")


def spawn(arguments: list[str], columns: int) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command on a terminal of this width."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    for name in ("COLUMNS", "NO_COLOR"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        env=environment,
        start_new_session=True,
    )
    os.close(child)
    return process, parent


def read_until(parent: int, pattern: str, seconds: float = 60) -> str:
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
def test_live_progress_fits_and_shows_rate_and_time_left(video: Path, columns: int) -> None:
    process, parent = spawn(["extract", str(video), *SLOW, "-o", "f.st", "--no-cache"], columns)
    try:
        text = read_until(parent, r"\d left")
    finally:
        process.kill()
        process.wait()
        os.close(parent)
    live = [line for line in lines(text) if "%" in line]
    assert live and all(len(line) <= columns for line in live)
    assert "film one" in live[-1] and " left" in live[-1]
    assert ("frames/s" in live[-1]) is (columns >= 72)
    assert ("━" in live[-1]) is (columns >= 60)


def test_report_replaces_the_live_display(video: Path, model_folder: Path) -> None:
    process, parent = spawn(["timeline", str(video), "-m", str(model_folder)], 80)
    text = read_until(parent, "")
    assert process.wait(60) == 0
    os.close(parent)
    assert "\x1b[?25l" in text and "\x1b[?25h" in text  # the cursor was hidden and is back
    shown = lines(text[text.rindex("\x1b[?25h") :])
    assert any("wild" in line for line in shown)
    assert all(len(line) <= 80 for line in shown)
    assert not any("%" in line and "left" in line for line in shown)


@pytest.mark.parametrize("terminal", [True, False])
def test_ctrl_c_in_the_middle_ends_quietly_and_resumes(
    video: Path, terminal: bool, home: Path
) -> None:
    arguments = ["extract", str(video), *SLOW, "-o", "f.st"]
    if terminal:
        process, parent = spawn(arguments, 80)
        read_until(parent, r"\d left")
        os.killpg(process.pid, signal.SIGINT)
        text = read_until(parent, "")
        os.close(parent)
    else:
        process = subprocess.Popen(
            [*COMMAND, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stderr is not None
        assert b"started" in process.stderr.readline() + process.stderr.readline()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert out == b""
        text = err.decode()
    began = time.monotonic()
    assert process.wait(10) == 130
    assert time.monotonic() - began < 2
    assert "interrupted" in lines(text)[-1] and "Traceback" not in text
    assert not Path("f.st").exists()
    assert subprocess.run([*COMMAND, "cache", "list"], capture_output=True).returncode == 0


def test_plain_lines_are_printed_at_once_without_a_terminal(video: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "extract", str(video), *SLOW, "-o", "f.st", "--no-cache"],
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
        [*COMMAND, "timeline", str(video), "-m", str(model_folder)], capture_output=True, timeout=60
    )
    assert done.returncode == 0 and b"\x1b" not in done.stdout + done.stderr


def test_reader_that_leaves_after_the_first_result(video: Path, model_folder: Path) -> None:
    line = '"$0" -m vtnstream timeline "$1" "$1" "$1" -m "$2" --jsonl -q | head -n 1'
    done = subprocess.run(
        ["sh", "-c", line, sys.executable, str(video), str(model_folder)],
        capture_output=True,
        timeout=60,
    )
    assert done.stderr == b""
    assert done.stdout.count(b"\n") == 1
