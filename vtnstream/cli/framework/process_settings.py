"""Settings of the whole process: how threads wait, and how freed memory is kept. Commands make
them; the library alone does not. They change no result."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SPIN_COUNT = "1000"

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MOST_HEAPS = -1, -3, -8
"""Parameters of glibc's ``mallopt``."""

_LARGEST_KEPT = 32 * 2**20
"""Bytes; glibc allows no higher threshold. A backbone's tensors are smaller in batches of
:func:`vtnstream.encoding.encoder.default_batch_size`."""

_KEPT_ON_TOP = 256 * 2**20

_HEAPS = 2
"""Number of malloc arenas. By default every thread has its own, and each keeps the memory freed in
it: with two threads a backbone took 315, 200 and 250 MB instead of 150, 120 and 140 (MobileNetV2,
DeiT-Ti, ViT-B) in the same time. They allocate few, large blocks, so threads rarely contend."""


def spin_less() -> None:
    """Limit how long torch's threads spin while they wait for each other. Must be called before
    torch is imported; a setting of the user is kept.

    Spinning threads take the CPU from the decoder and other programs: two commands side by side
    on two cores took 52 s each, and 9 s with this setting; one command alone is not slower.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


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


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next batch. By default it returns large blocks to the
    system and maps them again page by page, which took a third of the time of MobileNetV2 on a CPU.

    Without glibc this function does nothing.
    """
    if sys.platform != "linux":
        return
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
    mallopt(_TRIM_THRESHOLD, _KEPT_ON_TOP)
    mallopt(_MOST_HEAPS, _HEAPS)
