"""One thread per process for every test, because parallel workers would compete for cores
(``pytest -n auto`` runs one worker per core)."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch

from tests.browser import chromium, visit
from tests.faults.tally import pytest_terminal_summary

__all__ = ["chromium", "pytest_terminal_summary", "visit"]
