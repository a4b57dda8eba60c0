"""How long tests wait on a machine that may be busy with other work."""

from __future__ import annotations

import os

HANG = 300
"""Seconds after which a process hangs. It ends much earlier; a machine with twenty programs on
two cores is slow."""


def at_most(seconds: float) -> float:
    """Return the longest time that may take ``seconds`` on a quiet machine: longer by the number
    of programs for each core."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
