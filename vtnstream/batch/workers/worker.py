"""What runs in a worker: a process that was spawned, never forked.

Lines of JSON come in on standard input (first how to make the engine, then tasks) and go out
on what was standard output; what libraries print goes to standard error. It ends with its
parent, however that ends, and takes no signal of the terminal for itself.
"""

from __future__ import annotations

import base64
import faulthandler
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

from vtnstream.batch.workers.executor import Engine, MakeEngine, Refused, attempt
from vtnstream.batch.workers.outcome import Task
from vtnstream.errors import MissingExtraError, ModelError, UsageError, one_line

_TELL_SECONDS = 0.5
_SET_DEATH_SIGNAL = 1
_OOM_SCORE = 500
"""The system's own out-of-memory killer takes a worker before it takes the parent."""


def main() -> None:
    """Serve the parent whose process number is the first argument; never returns."""
    out = _own_output()
    _end_with(int(sys.argv[1]))
    _be_expendable()
    faulthandler.enable()
    code = 1
    try:
        _serve(Channel(out))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    os._exit(code)  # at once: the thread that listens cannot be joined


def _serve(channel: Channel) -> None:
    source = sys.stdin.buffer
    make_engine: MakeEngine = pickle.loads(base64.b64decode(source.readline()))
    tasks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(source, tasks), daemon=True).start()
    try:
        engine = make_engine()
    except (UsageError, MissingExtraError, ModelError) as error:
        channel.send("refused", error=one_line(error))
        return
    except Exception as error:
        channel.send("broken", error=one_line(error))
        raise
    channel.send("ready", **engine.facts.as_dict())
    while True:
        _work(engine, Task(**json.loads(tasks.get())), channel)


def _work(engine: Engine, task: Task, channel: Channel) -> None:
    try:
        outcome = attempt(engine, task, WireProgress(channel))
    except Refused as error:
        channel.send("refused", error=str(error))
    else:
        channel.send("outcome", outcome=outcome.as_dict())


class Channel:
    """Lines to the parent, whole ones only, from any thread."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def send(self, event: str, **fields: Any) -> None:
        data = json.dumps({"event": event, **fields}).encode() + b"\n"
        with self._lock, suppress(BrokenPipeError):  # then the end is near anyway
            self._out.write(data)
            self._out.flush()


class WireProgress:
    """Tells the parent how far the video is, now and then."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._total: float | None = None
        self._last = time.monotonic()

    def start(self, what: str, *, total: float | None, unit: str) -> None:
        self._total = total

    def advance(self, done: float, *, note: str = "") -> None:
        now = time.monotonic()
        if self._total and now - self._last >= _TELL_SECONDS:
            self._last = now
            self._channel.send("progress", share=min(1.0, done / self._total))

    def finish(self) -> None:
        pass

    def warn(self, message: str) -> None:
        self._channel.send("warning", message=message)


def _own_output() -> BinaryIO:
    """Standard output for us alone; whoever prints prints to standard error."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return out


def _end_with(parent: int) -> None:
    """Die when the parent dies. The system sees to it even while native code holds the
    interpreter; where it cannot, :func:`_listen` does."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)
    if os.name == "posix" and os.getppid() != parent:  # it died before we asked
        os._exit(1)


def _be_expendable() -> None:
    """First to go when memory runs out, and without a core file the size of memory."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(str(_OOM_SCORE))
    with suppress(ImportError, ValueError, OSError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def _listen(source: BinaryIO, tasks: queue.SimpleQueue[bytes]) -> None:
    for line in source:
        tasks.put(line)
    os._exit(0)  # the parent has closed its end, or is gone
