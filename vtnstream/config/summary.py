"""How a video is shortened."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SummaryConfig:
    """Options of ``vtnstream summarize``.

    Attributes:
        length: seconds the summary may last.
        piece: longest piece taken at once; longer segments are offered in such pieces.
        shortest: shorter pieces are never taken.
        diversity: how much a piece loses for looking like the rest of the video: 0 not at
            all, 1 entirely.
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
            raise ConfigError(f"diversity lies between 0 and 1, not {self.diversity}")
