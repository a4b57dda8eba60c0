"""Memory that is not needed for now, given back to the system: pages of a mapped file come from
there again when they are touched, and nothing that was written is lost.

Linux (freed memory: with glibc); elsewhere nothing happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterable
from pathlib import Path

_PAGE_OUT = 21
"""``MADV_PAGEOUT``: pages are reclaimed, their contents kept."""


def page_out_file(path: Path) -> None:
    """Let go of the pages of a mapped file, a library whose weights have been copied say."""
    name = str(path.resolve())
    _page_out((start, stop) for start, stop, file in _mapped_files() if file == name)


def trim() -> None:
    """Give back what was freed. The allocator would keep it for larger batches than are to
    come."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _mapped_files() -> list[tuple[int, int, str]]:
    """First address, address behind the last, and file of each mapping."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        return []
    found = []
    for line in lines:
        # 7f00-7f80 r--p 00000000 08:01 1234   /path
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith("/"):
            start, _, stop = parts[0].partition("-")
            found.append((int(start, 16), int(stop, 16), parts[5]))
    return found


def _page_out(ranges: Iterable[tuple[int, int]]) -> None:
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for start, stop in ranges:
            advise(start, stop - start, _PAGE_OUT)  # refused by old kernels: nothing is lost
