"""Tell whether this process computes as one that a command starts; torch is not imported here."""

from __future__ import annotations

import sys
from typing import Any

_first: tuple[Any, ...] | None = None


def is_plain() -> bool:
    """Return whether torch is not imported, or has the settings with which vtnstream imported it.

    A program may have changed the number of threads or the precision of torch, which changes the
    last digits of outputs. Stored outputs are those of a process without such changes.
    """
    return "torch" not in sys.modules or (_first is not None and _settings() == _first)


def note_torch() -> None:
    """Note the settings of torch if they are not known yet. Call it in a plain process, after
    torch may have been imported."""
    global _first
    if _first is None and "torch" in sys.modules:
        _first = _settings()


def _settings() -> tuple[Any, ...]:
    torch: Any = sys.modules["torch"]
    return (
        torch.get_num_threads(),
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.mkldnn.enabled,
    )
