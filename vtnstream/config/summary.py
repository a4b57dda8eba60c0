"""Configuration of video summaries."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SummaryConfig:
    """Options of ``vtnstream summarize``.

    Attributes:
        length: longest duration of the summary in seconds.
        piece: longest part in seconds; longer segments are split into parts.
        shortest: shortest part in seconds.
        diversity: penalty for parts that resemble the rest of the video: 0 none, 1 largest.
    """

    length: float = 120.0
    piece: float = 8.0
    shortest: float = 1.0
    diversity: float = 0.5

    def __post_init__(self) -> None:
        for name in ("length", "piece", "shortest"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, not {getattr(self, name)}")
        if self.piece < self.shortest:
            raise ConfigError(f"piece {self.piece} is shorter than shortest {self.shortest}")
        if not 0 <= self.diversity <= 1:
            raise ConfigError(f"diversity must be between 0 and 1, not {self.diversity}")
