"""Videos that exist by name only, for simulations of a cluster: each takes some time, some are
delayed, some fail to be stored once, and some kill their actor once."""

from __future__ import annotations

import functools
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtnstream.batch.workers.executor import ExecutorInfo, Result
from vtnstream.batch.workers.outcome import Task
from vtnstream.errors import StoreError
from vtnstream.progress import Progress


@dataclass(frozen=True)
class Faults:
    """What happens to the videos, by their number.

    Attributes:
        seconds: mean time of a video.
        delayed: every so many videos take ``delay`` seconds.
        delay: seconds of a delayed video.
        refused: the storage refuses every so many results at the first attempt.
        deadly: every so many videos kill their actor at the first attempt.
    """

    seconds: float = 0.005
    delayed: int = 500
    delay: float = 0.5
    refused: int = 250
    deadly: int = 1250

    def seconds_of(self, number: int) -> float:
        """Return the time of a video: the delay, or a share of twice the mean that depends on its
        number."""
        if number % self.delayed == 1:
            return self.delay
        digest = hashlib.sha256(str(number).encode()).digest()
        return 2 * self.seconds * int.from_bytes(digest[:4], "big") / 2**32


class VirtualExecutor:
    """Waits for the time of a video and writes a file of its name."""

    splits = False

    def __init__(self, faults: Faults, output: Path, marks: Path) -> None:
        self.output, self._marks, self._faults = output, marks, faults
        self.facts = ExecutorInfo(key="virtual", about="virtual videos")

    def run(self, task: Task, progress: Progress) -> Result:
        faults, number = self._faults, int(task.name)
        if number % faults.deadly == 2 and self._is_first(number):
            os._exit(1)
        time.sleep(faults.seconds_of(number))
        if number % faults.refused == 3 and self._is_first(number):
            raise StoreError(f"{task.path}: the storage does not answer")
        target = self.output / f"{task.name}.txt"
        with open(target, "x") as file:  # a video that is processed twice is an error
            file.write(task.path)
        return Result([target])

    def _is_first(self, number: int) -> bool:
        mark = self._marks / str(number)
        if mark.exists():
            return False
        mark.touch()
        return True


def maker(faults: Faults, output: Path, marks: Path) -> Any:
    """Return a picklable function that makes the executor."""
    return functools.partial(VirtualExecutor, faults, output, marks)
