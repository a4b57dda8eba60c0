"""What config dataclasses check of their values."""

from __future__ import annotations

import math

from vtnstream.errors import ConfigError


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raises:
    ConfigError: the value is none of ``allowed``.
    """
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def positive(**values: float) -> None:
    """Raises:
    ConfigError: a value is not above 0, or no number.
    """
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise ConfigError(f"{name} must be positive, not {value}")
