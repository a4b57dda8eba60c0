"""A worker as its parent sees it: a process to talk to, to watch and to end."""

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vtnstream.batch.machine import resident_bytes
from vtnstream.batch.workers.executor import MakeEngine
from vtnstream.batch.workers.outcome import Task

_START = (
    "import sys, json; sys.path[:] = json.loads(sys.argv[2]); "
    "from vtnstream.batch.workers.worker import main; main()"
)
"""Modules come from where the parent's do, and from no folder that happens to be current."""

_TAIL_BYTES = 4096
_REAP_SECONDS = 1.0

OUTSIDE = frozenset(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP") if hasattr(signal, name)
)
"""Signals by which somebody asks a process to stop; nothing is wrong with its video."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message of a worker, or ``ended`` when there will be no more."""

    worker: WorkerProcess
    kind: str
    fields: dict[str, Any]


class WorkerProcess:
    """A worker and what it is doing.

    Args:
        make_engine: called in the worker.
        slot: its place among the workers, from 0.
        environment: variables of its own.
        scratch: a folder of its own for temporary files, gone with it.
        events: where its messages go.

    Attributes:
        task: what it works on, None while it starts or waits.
        ready: it has told so.
        num_done: videos it has ended.
        share: how far the task is, 0 to 1.
        problem: why it could not start, where it told.
    """

    def __init__(
        self,
        make_engine: MakeEngine,
        *,
        slot: int,
        environment: Mapping[str, str],
        scratch: Path,
        events: queue.SimpleQueue[Event],
    ) -> None:
        self.slot = slot
        self.task: Task | None = None
        self.ready = False
        self.num_done = 0
        self.share = 0.0
        self.problem: str | None = None
        self.began = time.monotonic()
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
                start_new_session=True,  # Ctrl-C of the terminal is the parent's affair
            )
        self._reader = threading.Thread(target=self._read, args=(events,), daemon=True)
        self._reader.start()
        self._write(base64.b64encode(pickle.dumps(make_engine)))

    @property
    def pid(self) -> int:
        return self._process.pid

    def give(self, task: Task) -> None:
        """Start it on a task."""
        self.task, self.began, self.share = task, time.monotonic(), 0.0
        self._write(json.dumps(asdict(task)).encode())

    def finish(self) -> float:
        """The task has ended, after this many seconds."""
        self.task = None
        self.num_done += 1
        return self.seconds

    @property
    def seconds(self) -> float:
        """Since its task (or itself) was started."""
        return time.monotonic() - self.began

    def memory(self) -> int | None:
        """Bytes it holds."""
        return resident_bytes(self.pid)

    def end(self) -> None:
        """Kill it. Whatever it was writing is whole or absent."""
        with suppress(OSError):
            if os.name == "posix":
                os.killpg(self.pid, signal.SIGKILL)  # with whatever it has started
            else:
                self._process.kill()

    def reap(self) -> str:
        """Wait for its end, helping after a second, and say how it came to it."""
        for _ in range(2):
            try:
                self._process.wait(_REAP_SECONDS)
                break
            except subprocess.TimeoutExpired:
                self.end()
        else:
            return describe_end(None)  # it hangs in the system and dies when it can
        self._reader.join(_REAP_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None and not self._reader.is_alive():
                    pipe.close()
        return describe_end(self._process.returncode)

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def last_words(self) -> str:
        """The end of what it printed: the stack of a crash, for ``--debug``."""
        with suppress(OSError), open(self._stderr, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            return file.read().decode(errors="backslashreplace").strip()
        return ""

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has died; its end is told by the reader
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
    """``crashed (SIGSEGV)``, ``was killed (...)`` or ``ended by itself (code 3)``."""
    if returncode is None:
        return "does not end"
    if returncode >= 0:
        return f"ended by itself (code {returncode})"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    if name == "SIGKILL":
        return "was killed (SIGKILL; the system may be out of memory)"
    return f"was ended ({name})" if -returncode in OUTSIDE else f"crashed ({name})"
