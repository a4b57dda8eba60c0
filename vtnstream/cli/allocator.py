"""Keep the memory that one batch frees for the next one."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's ``mallopt``."""

_LARGEST_KEPT = 32 * 2**20
"""Bytes; glibc allows no higher threshold. A backbone's tensors are smaller in batches of
:data:`vtnstream.inference.encoder.CPU_FRAMES_AT_ONCE`."""

_KEPT_ON_TOP = 256 * 2**20


def keep_freed_memory() -> None:
    """Ask glibc not to hand every freed tensor back to the system, only to fetch it again,
    page by page, for the next batch: that was a third of the time of MobileNetV2 on a CPU.

    A setting of the whole process, so the commands make it and the library does not.
    Elsewhere than on glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
    mallopt(_TRIM_THRESHOLD, _KEPT_ON_TOP)
