"""Settings of the whole process, made by commands and never by the library.

They set how threads wait, whether freed memory is kept, and how libraries are imported. They do
not change results.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from vtnstream.process_memory import keep_freed_memory as keep_freed_memory

SPIN_COUNT = "1000"
_IMPORTED = time.monotonic()


def seconds_since_start() -> float:
    """Seconds since this process was started; since this module was imported where the system does
    not tell."""
    try:
        with open("/proc/self/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])  # field 22: starttime
        seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        seconds = 0.0
    return max(seconds, time.monotonic() - _IMPORTED)


def spin_less() -> None:
    """Limit how long torch's threads spin while they wait for each other. Must be called before
    torch is imported; a setting of the user is kept.

    Spinning threads take the CPU from the decoder and other programs: two commands side by side
    on two cores took 52 s each, and 9 s with this setting; one command alone is not slower.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


def postpone_compiler() -> None:
    """Import timm without torch's compiler, which takes half of timm's import time."""
    from vtnstream.models.torch_internals.lazy_compiler import enable

    enable()


@contextmanager
def loading() -> Iterator[None]:
    """Disable garbage collection while torch is imported, and exclude the imported objects from
    later collections. Collections took a seventh of the import time (1.68 s instead of 1.44 s).
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
