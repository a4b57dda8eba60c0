"""CPU cores and memory that this process may use, and the memory that a process uses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 2**60
"""Larger limits mean "no limit": older kernels write a number near 2**63."""


def num_cores() -> int:
    """Return the CPU cores that this process may use, by affinity and by the quota of a
    container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quotas = [
        -(-int(parts[0]) // int(parts[1]))
        for text in _group_values("cpu.max")
        if (parts := text.split())[0] != "max"
    ]
    return max(1, min([cores or 1, *quotas]))


def num_threads(requested: int | None) -> int:
    """Return the threads of a run without asking torch: the requested number,
    ``OMP_NUM_THREADS`` as in torch, or one for each core."""
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return requested or (int(asked) if asked.isdigit() else 0) or num_cores()


def memory_bytes() -> int | None:
    """Return the bytes of memory that this process may use; None if unknown.

    They are the memory of the machine or the limit of a container or Slurm job.
    """
    found = [
        int(text)
        for name in ("memory.max", "memory/memory.limit_in_bytes")
        for text in _group_values(name)
        if text.isdigit() and int(text) < _UNLIMITED
    ]
    with suppress(AttributeError, ValueError, OSError):
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)


def _group_values(name: str) -> Iterator[str]:
    """Yield the values of a limit in the control group of this process and in the groups above
    it."""
    if sys.platform != "linux":
        return
    folders = {_GROUPS}
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            own = _GROUPS / line.rpartition(":")[2].lstrip("/")
            folders |= {own, *own.parents}
    except OSError:
        pass
    for folder in folders:
        if folder == _GROUPS or _GROUPS in folder.parents:
            try:
                yield (folder / name).read_text().strip()
            except OSError:
                continue


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process, without pages of mapped files (such as weights),
    which the system can drop.

    None if unknown: the process has ended, or the system is not Linux.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    sizes = {
        name: int(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in text.splitlines())
        if name in ("RssAnon", "RssShmem", "VmRSS") and value
    }
    if "RssAnon" in sizes:
        return sizes["RssAnon"] + sizes.get("RssShmem", 0)
    return sizes.get("VmRSS")
