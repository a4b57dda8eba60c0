"""Settings of the process: made before torch is imported, and never against the user's settings."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import pytest

from vtnstream.cli.framework.process_settings import (
    SPIN_COUNT,
    keep_freed_memory,
    loading,
    spin_less,
)


@pytest.mark.parametrize(
    "given, then",
    [
        ({}, {"GOMP_SPINCOUNT": SPIN_COUNT}),
        ({"GOMP_SPINCOUNT": "5"}, {"GOMP_SPINCOUNT": "5"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_threads_spin_less_unless_the_user_sets_it(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], then: dict[str, str]
) -> None:
    environment = dict(given)
    monkeypatch.setattr(os, "environ", environment)
    spin_less()
    assert environment == then


def test_allocator_setting_can_be_made_twice() -> None:
    keep_freed_memory()
    keep_freed_memory()


HEAPS = """
import ctypes, threading
from vtnstream.cli.framework.process_settings import keep_freed_memory
keep_freed_memory()
together = threading.Barrier(6)
def work():
    together.wait()
    bytearray(1 << 20)
    together.wait()
threads = [threading.Thread(target=work) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL("libc.so.6")
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks glibc")
def test_threads_share_heaps() -> None:
    run = subprocess.run([sys.executable, "-c", HEAPS], capture_output=True, text=True, check=True)
    assert run.stdout.count("<heap nr=") <= 2


def test_garbage_collection_is_disabled_while_torch_is_imported() -> None:
    program = (
        "import gc; from vtnstream.cli.framework.process_settings import loading\n"
        "try:\n"
        "    with loading():\n"
        "        assert not gc.isenabled(); raise KeyError\n"
        "except KeyError:\n"
        "    assert gc.isenabled() and not gc.get_freeze_count()\n"
        "with loading(): pass\n"
        "assert gc.isenabled() and gc.get_freeze_count()\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_nothing_is_put_aside_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Garbage of the caller is still collected."""
    monkeypatch.setitem(sys.modules, "torch", sys)
    before = gc.get_freeze_count()
    with loading():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before
