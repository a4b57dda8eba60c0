"""The parent's side of a worker process."""

from __future__ import annotations

import base64
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vtnstream.batch.workers.executor import MakeExecutor
from vtnstream.batch.workers.outcome import Task
from vtnstream.machine import resident_bytes

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); "
    "from vtnstream.batch.workers.worker import main; main()"
)
"""The worker uses the parent's module path, without its own current directory."""

_TAIL_BYTES = 4096
_REAP_SECONDS = 1.0

STOP_SIGNALS = frozenset(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)
"""Signals that ask a process to stop, and so are no crash."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a worker; ``ended`` is the last."""

    worker: WorkerProcess
    kind: str
    fields: dict[str, Any]


@dataclass(slots=True)
class Running:
    """A task in a worker, the time at which it began, and the share of it that is done, 0 to 1."""

    task: Task
    began: float = field(default_factory=time.monotonic)
    share: float = 0.0

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began


class WorkerProcess:
    """A worker process and its state.

    Args:
        make_executor: makes the executor in the worker.
        slot: index of the worker, from 0.
        environment: additional environment variables.
        scratch: its own folder for temporary files.
        events: queue of its messages.

    Attributes:
        running: current tasks by the path of their video; none while it starts or waits.
        ready: whether it has reported that it is ready.
        num_done: number of finished videos.
        problem: reported reason why it could not start, or None.
    """

    def __init__(
        self,
        make_executor: MakeExecutor,
        *,
        slot: int,
        environment: Mapping[str, str],
        scratch: Path,
        events: queue.SimpleQueue[Event],
    ) -> None:
        self.slot = slot
        self.running: dict[str, Running] = {}
        self.ready = False
        self.num_done = 0
        self.problem: str | None = None
        self.scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._stderr = scratch / "stderr"
        arguments = [str(os.getpid()), json.dumps(sys.path)]
        with open(self._stderr, "wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **environment, "TMPDIR": str(scratch)},
                start_new_session=True,  # only the parent handles Ctrl-C
            )
        self._reader = threading.Thread(target=self._read, args=(events,), daemon=True)
        self._reader.start()
        self._write(base64.b64encode(pickle.dumps(make_executor)))

    @property
    def pid(self) -> int:
        return self._process.pid

    def assign(self, task: Task) -> None:
        """Send a task to the worker."""
        self.running[task.path] = Running(task)
        self._write(json.dumps(asdict(task)).encode())

    def finish(self, path: str) -> Task:
        """Record the end of the task of a video, and return the task."""
        self.num_done += 1
        return self.running.pop(path).task

    def memory(self) -> int | None:
        """Return the bytes of memory that the worker uses, or None if unknown."""
        return resident_bytes(self.pid)

    def end(self) -> None:
        """Kill the worker. Files are written atomically, so none is left incomplete."""
        with suppress(OSError):
            if os.name == "posix":
                os.killpg(self.pid, signal.SIGKILL)  # including its child processes
            else:
                self._process.kill()

    def reap(self) -> str:
        """Wait for its end, killing it after a second; return how it ended."""
        for _ in range(2):
            try:
                self._process.wait(_REAP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                self.end()
        else:
            return describe_end(None)  # it hangs in a system call
        self._reader.join(_REAP_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None and not self._reader.is_alive():
                    pipe.close()
        return describe_end(self._process.returncode)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def stderr_tail(self) -> str:
        """Return the end of its standard error, such as the stack of a crash, for ``--debug``."""
        with suppress(OSError), open(self._stderr, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return file.read().decode(errors="backslashreplace").strip()
        return ""

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has died; the reader thread reports its end
            self._process.stdin.write(data + b"\n")
            self._process.stdin.flush()

    def _read(self, events: queue.SimpleQueue[Event]) -> None:
        assert self._process.stdout is not None
        with suppress(OSError, ValueError):
            for line in self._process.stdout:
                message = json.loads(line)
                events.put(Event(self, message.pop("event"), message))
        events.put(Event(self, "ended", {}))


def describe_end(returncode: int | None) -> str:
    """Describe a return code: ``crashed (SIGSEGV)``, ``was killed (...)``, ``exited (code 3)``."""
    if returncode is None:
        return "does not end"
    if returncode >= 0:
        return f"exited (code {returncode})"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    if name == "SIGKILL":
        return "was killed (SIGKILL; the system may be out of memory)"
    return f"was stopped ({name})" if -returncode in STOP_SIGNALS else f"crashed ({name})"
