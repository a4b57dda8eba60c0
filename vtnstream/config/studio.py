"""Configuration of ``vtnstream studio``."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.errors import ConfigError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""Addresses that only this machine can reach."""


@dataclass(frozen=True, slots=True)
class StudioConfig:
    """Options of ``vtnstream studio``.

    Attributes:
        host: address to listen on. Any other than the loopback addresses needs a token.
        port: TCP port; 0 lets the system choose a free one.
        max_body_bytes: longest body of a request; a longer one is refused.
        page_size: videos per page of the library.
    """

    host: str = "127.0.0.1"
    port: int = 8090
    max_body_bytes: int = 1 << 20
    page_size: int = 60

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must be between 0 and 65535, not {self.port}")
        for name in ("max_body_bytes", "page_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name.replace('_', ' ')} must be positive")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK
