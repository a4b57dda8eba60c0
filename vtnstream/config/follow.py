"""Configuration of live streams."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FollowConfig:
    """Options of ``vtnstream timeline --follow``.

    Attributes:
        keep: seconds of features that are kept on disk; the class at the end is predicted from
            them.
        follow_timeout: seconds without data after which a stream counts as ended.
    """

    keep: float = 1800.0
    follow_timeout: float = 30.0

    def __post_init__(self) -> None:
        for name in ("keep", "follow_timeout"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, not {getattr(self, name)}")
