"""Measure whole commands from outside, by the accounting of the operating system."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.children import environment
from benchmarks.common import median

VTNSTREAM = (sys.executable, "-m", "vtnstream")

# A bare process between: a child begins with the memory of the one that starts it.
_LAUNCHER = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
wall, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "wall": wall,
    "cpu": used.ru_utime + used.ru_stime,
    "peak": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    "output": done.stdout,
    "code": done.returncode,
    "errors": done.stderr,
}))
"""


@dataclass(frozen=True)
class Command:
    """The measurement of one command: seconds, largest resident bytes, and output."""

    wall: float
    cpu: float
    peak: int
    output: str


def run(command: Sequence[object], extra: Mapping[str, str] | None = None) -> Command:
    """Run a command to its end.

    Raises:
        SystemExit: it failed; the message is the last line that it wrote.
    """
    arguments = [str(part) for part in command]
    launched = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env=environment(extra),
    )
    data = json.loads(launched.stdout)
    if data["code"]:
        last = (data["errors"].strip().split("\n") or [""])[-1]
        raise SystemExit(f"{' '.join(arguments[:6])} ...: code {data['code']}: {last}")
    return Command(data["wall"], data["cpu"], data["peak"], data["output"])


def alternate(commands: Mapping[str, Sequence[object]], runs: int) -> dict[str, Command]:
    """Run all commands in turn, ``runs`` times, and return the median of each."""
    found: dict[str, list[Command]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            found[name].append(run(command))
    return {
        name: Command(
            median(done.wall for done in all_runs),
            median(done.cpu for done in all_runs),
            max(done.peak for done in all_runs),
            all_runs[-1].output,
        )
        for name, all_runs in found.items()
    }


def python(code: str, *arguments: object) -> tuple[object, ...]:
    """Return a command that runs a few lines of Python."""
    return (sys.executable, "-c", code, *arguments)
