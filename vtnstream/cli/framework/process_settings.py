"""Settings of the whole process that commands make and the library does not: how threads wait
and what becomes of freed memory. They change no result."""

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
"""Each keeps what was freed in it. Threads had one of their own: with two at work, a backbone
took 315, 200 and 250 MB where it takes 150, 120 and 140 (MobileNetV2, DeiT-Ti, ViT-B), in the
same time; they ask for few and large blocks, and hardly ever wait for each other."""


def spin_less() -> None:
    """Let torch's threads give up the processor soon when they wait for each other. Before
    torch is imported; what the user has set stands.

    The decoder, and any other program, needs the processor more than a thread that spins: two
    commands side by side on two cores took 52 s each, and 9 s with this; one alone loses
    nothing.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


@contextmanager
def loading() -> Iterator[None]:
    """While torch is imported for the first time, nobody looks for garbage: what imports make
    stays, and going through it again and again was a seventh of their time (1.44 s for 1.68).
    Later searches leave it out.
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
    """Ask glibc not to hand every freed tensor back to the system, only to fetch it again,
    page by page, for the next batch: that was a third of the time of MobileNetV2 on a CPU.

    Elsewhere than on glibc nothing happens.
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
