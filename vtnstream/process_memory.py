"""Control how this process holds memory: glibc's allocator, and the pages of mapped files.

The functions call the C library, which is checked on first use (:func:`_libc`). On another
system or C library they do nothing. They change no results. Importing this module changes
nothing, and only commands call :func:`keep_freed_memory`, which affects the whole process.
"""

from __future__ import annotations

import sys
from functools import cache

TYPE_CHECKING = False  # importing typing is half of the time of a quick start
if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterable
    from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MAX_ARENAS = -1, -3, -8
"""Parameters of glibc's ``mallopt``."""

_LARGEST_KEPT = 32 * 2**20
"""Largest block in bytes that is kept; glibc allows no higher threshold. A backbone's tensors
are smaller in batches of :func:`vtnstream.encoding.encoder.default_batch_size`."""

_KEPT_ON_TOP = 256 * 2**20
"""Bytes of free memory at the end of the heap."""

_ARENAS = 2
"""Heaps shared by all threads. Each keeps its freed memory.

By default every thread has its own: two threads took 315, 200 and 250 MB, but 150, 120 and 140
with two heaps (MobileNetV2, DeiT-Ti, ViT-B) in the same time, since they allocate few and large
blocks.
"""

_PAGE_OUT = 21
"""``MADV_PAGEOUT``: the system reclaims the pages and keeps their contents."""


@cache
def _libc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc on Linux with the functions used here, else None."""
    if sys.platform != "linux":
        return None
    import ctypes

    try:
        libc = ctypes.CDLL(None)
        for name in ("gnu_get_libc_version", "mallopt", "malloc_trim", "madvise"):
            getattr(libc, name)
    except (OSError, AttributeError):
        return None
    libc.mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    libc.malloc_trim.argtypes = [ctypes.c_size_t]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return libc


def keep_freed_memory() -> None:
    """Keep freed tensors in the process instead of returning each to the system.

    The next batch would fetch the memory again page by page: that was a third of the time of
    MobileNetV2 on a CPU.
    """
    libc = _libc()
    if libc is not None:
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_ON_TOP)
        libc.mallopt(_MAX_ARENAS, _ARENAS)


def trim() -> None:
    """Return freed memory to the system once; the allocator would keep it for large batches."""
    libc = _libc()
    if libc is not None:
        libc.malloc_trim(0)


def page_out_file(path: Path) -> None:
    """Let the system reclaim the pages of a mapped file.

    They are read from the file again when they are touched; written pages are kept. This is
    useful for a library whose weights have been copied.

    Args:
        path: of the file; nothing happens if it is not mapped.
    """
    libc = _libc()
    if libc is None:
        return
    name = str(path.resolve())
    for start, stop, file in _mapped_files():
        if file == name:
            libc.madvise(start, stop - start, _PAGE_OUT)  # old kernels refuse, which is harmless


def _mapped_files() -> Iterable[tuple[int, int, str]]:
    """Yield the first address, the address after the last, and the file of each mapping of this
    process."""
    try:
        with open("/proc/self/maps", errors="replace") as maps:
            lines = maps.read().splitlines()
    except OSError:
        return
    for line in lines:
        # 7f00-7f80 r--p 00000000 08:01 1234   /path
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith("/"):
            start, _, stop = parts[0].partition("-")
            yield int(start, 16), int(stop, 16), parts[5]
