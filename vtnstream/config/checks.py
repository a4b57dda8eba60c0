"""Checks of values in config dataclasses."""

from __future__ import annotations

import math
from typing import Any

from vtnstream.errors import ConfigError


def shown(value: Any) -> str:
    """Return the ``repr`` of a rejected value for a message, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Check that a value is allowed.

    Raises:
        ConfigError: the value is not one of ``allowed``.
    """
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {shown(value)}")


def positive(**values: float) -> None:
    """Check that values are positive.

    Raises:
        ConfigError: a value is not a finite number above 0.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ConfigError(f"{name} must be positive, not {value}")
