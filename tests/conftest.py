"""One thread per process for every test, because parallel workers would compete for cores
(``pytest -n auto`` runs one worker per core)."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job ignores Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from tests.browser import chromium, visit
from tests.faults.tally import pytest_terminal_summary
from tests.scheduling import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = [
    "chromium",
    "ordinary_process",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_terminal_summary",
    "pytest_xdist_make_scheduler",
    "visit",
]


@pytest.fixture(autouse=True)
def ordinary_process() -> Iterator[None]:
    """After a test that asked for more threads, the others have one again, at ordinary priority.

    The number belongs to the process. Two threads that wait for each other on a core that another
    worker uses took twenty times as long. The AV1 encoder makes the process of root real-time, so
    that no other gets a core.
    """
    yield
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    if hasattr(os, "sched_setscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def pytest_collection_finish() -> None:
    """Leave the libraries and the collected tests out of garbage collections.

    A command collects garbage after each video. With the 700 thousand objects of this process
    that takes 0.4 s of processor time, without them less than a millisecond.
    """
    gc.collect()
    gc.freeze()
