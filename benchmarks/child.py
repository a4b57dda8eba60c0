"""The process of a contender, which answers calls from standard input."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any


class Imports:
    """A process that only imports modules: the baseline of other processes."""

    def load(self, modules: list[str]) -> None:
        for name in modules:
            importlib.import_module(name)


def peak_since(reset: bool) -> int:
    """Return the peak of resident bytes; ``reset`` starts a new peak, where the system allows
    it."""
    peak = status_bytes("self", "VmHWM:")
    if not peak:  # not Linux: the largest of the whole process
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return peak


def gpu_bytes(*, reset: bool) -> int:
    """Return the peak of torch's GPU memory since the last ``reset``, which starts from current
    use.

    Memory of decoders is not torch's and is not counted.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    if reset:
        torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.max_memory_allocated())


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _serve(contender: str, settings: dict[str, Any]) -> None:
    """Answer calls until standard input ends.

    Output of libraries goes to standard error, so that it does not mix with the answers.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    made: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        peak_since(reset=True)
        before = status_bytes("self", "VmRSS:") + gpu_bytes(reset=True)
        wall, cpu = time.perf_counter(), _cpu_seconds()
        try:
            if made is None:
                module, _, name = contender.partition(":")
                made = getattr(importlib.import_module(module), name)(**settings)
            value = getattr(made, request["method"])(**request["arguments"])
            answer = {
                "wall": time.perf_counter() - wall,
                "cpu": _cpu_seconds() - cpu,
                "before": before,
                "peak": peak_since(reset=False) + gpu_bytes(reset=False),
                "value": value,
            }
        except Exception as error:
            text = " ".join(str(error).split()) or "no reason given"
            answer = {"error": f"{type(error).__name__}: {text[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def status_bytes(pid: int | str, name: str) -> int:
    """Return a value of ``/proc/PID/status`` in bytes; 0 if it does not exist."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1], json.loads(sys.argv[2]))
