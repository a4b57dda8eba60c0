"""Run contenders in processes of their own, with interleaved runs.

Each contender has its own memory, imports and compiled code. It is a class whose public methods
are called by name over pipes, with JSON arguments and results. Each call is measured inside the
child: wall and CPU seconds (all threads, and processes it waited for) and resident memory. A
contender that fails, or exceeds its time or memory, becomes a :class:`Failure` with the reason,
which is a row of the table.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from benchmarks.child import status_bytes
from benchmarks.common import median

MEGABYTE = 2**20
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Failure:
    """The reason why a contender has no measurement."""

    reason: str


@dataclass(frozen=True)
class Measurement:
    """The measurement of one call.

    Attributes:
        wall: seconds.
        cpu: seconds of all threads.
        before: resident bytes at the start, including the GPU.
        peak: largest resident bytes during the call, likewise.
        value: result of the method.
    """

    wall: float
    cpu: float
    before: int
    peak: int
    value: Any


@dataclass(frozen=True)
class Limits:
    """Limits of a call; None sets no limit."""

    seconds: float | None = None
    resident_bytes: float | None = None


class Child:
    """A contender in its own process. A context manager that ends the process on exit.

    Args:
        contender: ``module:Class``.
        settings: arguments of the class.
        extra: environment variables added to those of this process.
        limits: of every call.
    """

    def __init__(
        self,
        contender: str,
        settings: Mapping[str, Any] | None = None,
        extra: Mapping[str, str] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.peak = 0
        self._limits = limits or Limits()
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._failure: Failure | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.child", contender, json.dumps(settings or {})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment(extra),
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process. May be called twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                _open(pipe).close()
        self._errors.close()

    def call(self, method: str, **arguments: Any) -> Measurement | Failure:
        """Run one method and measure it; after a failure every call returns that failure."""
        if self._failure is not None:
            return self._failure
        with self._watched(self._limits) as stopped:
            answer = self._ask({"method": method, "arguments": arguments})
        if answer is None:
            self._process.wait()
            self._failure = Failure(stopped[0] if stopped else self._last_words())
        elif "error" in answer:
            self._failure = Failure(answer["error"])
        else:
            measured = Measurement(**answer)
            self.peak = max(self.peak, measured.peak)
            return measured
        return self._failure

    def _ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Send a request; return the answer, or None if the process ended without one."""
        try:
            pipe = _open(self._process.stdin)
            pipe.write(json.dumps(request) + "\n")
            pipe.flush()
        except BrokenPipeError:
            return None
        line = _open(self._process.stdout).readline()
        answer: dict[str, Any] | None = json.loads(line) if line else None
        return answer

    @contextlib.contextmanager
    def _watched(self, limits: Limits) -> Iterator[list[str]]:
        """Kill the process if it exceeds its limits; the list then holds the reason."""
        stopped: list[str] = []
        done = threading.Event()

        def watch() -> None:
            began = time.perf_counter()
            while not done.wait(POLL_SECONDS):
                taken = resident(self._process.pid)
                if limits.seconds is not None and time.perf_counter() - began > limits.seconds:
                    stopped.append(f"beyond {limits.seconds:g} s")
                elif limits.resident_bytes is not None and taken > limits.resident_bytes:
                    stopped.append(f"beyond {limits.resident_bytes / 2**30:.1f} GiB")
                if stopped:
                    self._process.kill()
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        if limits != Limits():
            watcher.start()
        try:
            yield stopped
        finally:
            done.set()
            if watcher.ident is not None:
                watcher.join()

    def _last_words(self) -> str:
        """Return the last line that a dead process wrote, or its exit code."""
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return last or f"the process ended with code {self._process.returncode}"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, extended so that children find this package in any
    folder."""
    given = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(Path(__file__).parents[1]), *([given] if given else [])])
    return {**os.environ, "PYTHONPATH": path, **(extra or {})}


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


@dataclass(frozen=True)
class Median:
    """Medians over several calls of one method in one child."""

    wall: float
    cpu: float
    added: int
    """Largest number of bytes that a call added to those resident before it."""
    values: list[Any]
    peak: int = 0
    """Largest resident bytes of any call."""


def interleave(
    children: Mapping[str, Child], runs: int, method: str, **arguments: Any
) -> dict[str, Median | Failure]:
    """Call a method of all children in turn, ``runs`` times, and return the median of each.

    Interleaving spreads disturbances of the machine over all children.
    """
    return interleave_methods(children, runs, {method: arguments})[method]


def interleave_methods(
    children: Mapping[str, Child], runs: int, methods: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Median | Failure]]:
    """Call several methods with their arguments in turn; return :func:`interleave` of each."""
    found: dict[str, dict[str, Median | Failure]] = {}
    done: dict[tuple[str, str], list[Measurement]] = {}
    failed: dict[tuple[str, str], Failure] = {}
    for _ in range(runs):
        for name, child in children.items():
            for method, arguments in methods.items():
                if (method, name) in failed:
                    continue
                answer = child.call(method, **arguments)
                if isinstance(answer, Failure):
                    failed[method, name] = answer
                else:
                    done.setdefault((method, name), []).append(answer)
    for method in methods:
        found[method] = {
            name: failed[method, name] if (method, name) in failed else _median(done[method, name])
            for name in children
        }
    return found


def _median(runs: list[Measurement]) -> Median:
    return Median(
        wall=median(run.wall for run in runs),
        cpu=median(run.cpu for run in runs),
        added=max(run.peak - run.before for run in runs),
        peak=max(run.peak for run in runs),
        values=[run.value for run in runs],
    )


def resident(pid: int) -> int:
    """Return the current resident bytes of a process; 0 if unknown."""
    return status_bytes(pid, "VmRSS:")
