"""One thread per process for every test, because parallel workers would compete for cores
(``pytest -n auto`` runs one worker per core)."""

from __future__ import annotations

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

from tests.browser import chromium, visit
from tests.faults.tally import pytest_terminal_summary
from tests.scheduling import pytest_collection_modifyitems, pytest_xdist_make_scheduler

__all__ = [
    "chromium",
    "pytest_collection_finish",
    "pytest_collection_modifyitems",
    "pytest_terminal_summary",
    "pytest_xdist_make_scheduler",
    "visit",
]


def pytest_collection_finish() -> None:
    """Leave the libraries and the collected tests out of garbage collections.

    A command collects garbage after each video. With the 700 thousand objects of this process
    that takes 0.4 s of processor time, without them less than a millisecond.
    """
    gc.collect()
    gc.freeze()
