"""An executor without torch, for tests of the workers around it.

Its worker is a real process, in which the fault that the name of a video requests really
happens.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.patience import HANG
from vtnstream.batch.workers.executor import ExecutorInfo, Result
from vtnstream.batch.workers.outcome import Task
from vtnstream.config import TimelineConfig
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.progress import Progress
from vtnstream.types import Partial

SLOW_SECONDS = 0.3


def _grow() -> None:
    held = []
    while True:
        held.append(bytearray(os.urandom(1) * 2**20 * 16))
        time.sleep(0.01)


def _hold_the_interpreter() -> None:
    ctypes.PyDLL(None).sleep(600)  # like native code that never comes back


def _chatter() -> None:
    print("not a message of ours")
    os.write(1, b"nor is this\n" * 1000)


def _refuse() -> None:
    raise UsageError("this cannot be asked of any video")


def _fail() -> None:
    raise VideoDecodeError("nothing could be decoded")


def _bug() -> None:
    raise ZeroDivisionError("a\nb")


DEEDS: dict[str, Callable[[], object]] = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "exit": lambda: os._exit(3),
    "quit": lambda: sys.exit(4),
    "sleep": lambda: time.sleep(600),
    "stuck": _hold_the_interpreter,
    "grow": _grow,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "chatter": _chatter,
    "refuse": _refuse,
    "fail": _fail,
    "bug": _bug,
    "slow": lambda: time.sleep(SLOW_SECONDS),
}


class Executor:
    """Writes its process number as the result of each video, and a line into the diary.

    With ``once`` in a name, the fault happens at the first attempt only.
    """

    splits = False

    def __init__(self, output: Path) -> None:
        self.output = output
        self.facts = ExecutorInfo(key="settings", about="an executor of tests")
        self._together = threading.Barrier(3)
        self._running: set[str] = set()
        self._most = 0

    def run(self, task: Task, progress: Progress) -> Result:
        self._running.add(task.name)
        self._most = max(self._most, len(self._running))
        (self.output / "most").write_text(str(self._most))
        try:
            return self._run(task)
        finally:
            self._running.discard(task.name)

    def _run(self, task: Task) -> Result:
        name = Path(task.path).stem
        diary = self.output / "diary"
        seen = diary.exists() and f" {name}\n" in diary.read_text()
        with open(diary, "a") as file:
            file.write(f"{os.getpid()} {name}\n")
        deed = DEEDS.get(name.split("-")[0])
        if deed is not None and not (seen and name.endswith("-once")):
            deed()
        if name.startswith("together"):
            self._together.wait(HANG)
        target = self.output / f"{task.name}.txt"
        target.write_text(str(os.getpid()))
        partial = Partial(("a hole",), 3.0, 5.0) if name.startswith("partial") else None
        return Result([target], partial)


def make_executor(output: Path) -> Executor:
    return Executor(output)


def refuse_to_start(output: Path) -> Executor:
    raise UsageError("there is no such model")


def break_at_start(output: Path) -> Executor:
    raise RuntimeError("out of luck")


def crash_at_start(output: Path) -> Executor:
    os.abort()


def executor_of_settings(key: str, output: Path) -> Executor:
    """Make an executor with these settings."""
    executor = Executor(output)
    executor.facts = ExecutorInfo(key=key, about="an executor of tests")
    return executor


def changing_executor(output: Path) -> Executor:
    """Make an executor with another model in every worker."""
    return executor_of_settings(str(os.getpid()), output)


def executor_of_command(
    values: Mapping[str, Any],
    localize: TimelineConfig | None,
    formats: Sequence[str],
    every: bool,
) -> Executor:
    """Replace :func:`vtnstream.cli.options.batch.make_analysis_executor` and record the options."""
    output = Path(values["output_dir"])
    (output / "settings").write_text(repr(localize))
    return Executor(output)


def make_side_by_side(output: Path) -> Executor:
    """Make an executor that processes three videos at the same time."""
    executor = Executor(output)
    executor.facts = ExecutorInfo(key="settings", about="an executor of tests", side_by_side=3)
    return executor
