"""The code of a worker process.

The process is spawned, not forked. It reads lines from standard input: first the pickled function
that makes the executor, then tasks as JSON. It writes JSON lines to standard output; what libraries
print is redirected to standard error. It ends when its parent ends, and does not receive signals of
the terminal.
"""

from __future__ import annotations

import base64
import faulthandler
import gc
import json
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from typing import Any, BinaryIO

from vtnstream.batch.workers.executor import Executor, MakeExecutor, RequestRefused, attempt
from vtnstream.batch.workers.outcome import Task
from vtnstream.errors import MissingExtraError, ModelError, UsageError, one_line
from vtnstream.models.torch_internals import lazy_compiler

_REPORT_SECONDS = 0.5
_SET_DEATH_SIGNAL = 1
_OOM_SCORE = 500
"""Score by which the kernel's out-of-memory killer prefers workers to the parent."""


def main() -> None:
    """Serve the parent, whose process id is the first argument. Does not return."""
    out = _own_output()
    _die_with(int(sys.argv[1]))
    _prefer_out_of_memory_kill()
    lazy_compiler.enable()
    faulthandler.enable()
    code = 1
    try:
        _serve(Channel(out))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    os._exit(code)  # the listening thread cannot be joined


def _serve(channel: Channel) -> None:
    source = sys.stdin.buffer
    make_executor: MakeExecutor = pickle.loads(base64.b64decode(source.readline()))
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, tasks), daemon=True).start()
    try:
        executor = make_executor()
    except (UsageError, MissingExtraError, ModelError) as error:
        channel.send("refused", error=one_line(error))
        return
    except Exception as error:
        channel.send("broken", error=one_line(error))
        raise
    # The collection after each video would visit a million objects of libraries: 0.1 s.
    gc.collect()
    gc.freeze()
    channel.send("ready", **executor.facts.as_dict())
    for _ in range(1, executor.facts.side_by_side):
        threading.Thread(target=_work_in_thread, args=(executor, tasks, channel)).start()
    _work_on(executor, tasks, channel)


def _work_in_thread(executor: Executor, tasks: queue.SimpleQueue[bytes], channel: Channel) -> None:
    """Process tasks as the main thread does; an exception ends the process."""
    code = 1
    try:
        _work_on(executor, tasks, channel)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def _work_on(executor: Executor, tasks: queue.SimpleQueue[bytes], channel: Channel) -> None:
    """Process tasks as the parent sends them; the parent limits how many at the same time."""
    while True:
        task = Task(**json.loads(tasks.get()))
        try:
            outcome = attempt(executor, task, _ChannelProgress(channel, task))
        except RequestRefused as error:
            channel.send("refused", error=str(error))
        else:
            channel.send("outcome", outcome=outcome.as_dict())


class Channel:
    """Writes whole lines to the parent, from any thread."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def send(self, event: str, **fields: Any) -> None:
        data = json.dumps({"event": event, **fields}).encode() + b"\n"
        with self._lock, suppress(BrokenPipeError):  # the parent has ended
            self._out.write(data)
            self._out.flush()


class _ChannelProgress:
    """Sends progress and warnings of one task to the parent."""

    def __init__(self, channel: Channel, task: Task) -> None:
        self._channel, self._task = channel, task
        self._total: float | None = None
        self._last = time.monotonic()

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        self._total = total

    def advance(self, done: float, *, note: str = "") -> None:
        now = time.monotonic()
        if self._total and now - self._last >= _REPORT_SECONDS:
            self._last = now
            share = min(1.0, done / self._total)
            self._channel.send("progress", path=self._task.path, share=share)

    def finish(self) -> None:
        pass

    def warn(self, message: str) -> None:
        self._channel.send("warning", message=message)


def _own_output() -> BinaryIO:
    """Take standard output for messages, and redirect other output to standard error."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def _die_with(parent: int) -> None:
    """End this process when the parent dies.

    Linux does this even while native code blocks the interpreter; elsewhere :func:`_listen` does
    it.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.name == "posix" and os.getppid() != parent:  # the parent has died already
        os._exit(1)


def _prefer_out_of_memory_kill() -> None:
    """Let the out-of-memory killer choose this process first, and disable core files."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_OOM_SCORE))
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _listen(source: BinaryIO, tasks: queue.SimpleQueue[bytes]) -> None:
    for line in source:
        tasks.put(line)
    os._exit(0)  # the parent has closed the pipe or died
