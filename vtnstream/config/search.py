"""Configuration of searches: matching of frames, and segments of matches."""

from __future__ import annotations

from dataclasses import dataclass

from vtnstream.config.checks import positive
from vtnstream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """Options of ``vtnstream search``.

    Attributes:
        max_segments: largest number of segments per query and video, best first.
        min_score: lowest match of a segment; below 0.5 a query counts as not found.
        smoothing_seconds: width in seconds of the window over which matches are averaged, but not
            across a gap; 0 is off.
        min_duration: seconds; shorter segments are dropped, unless the whole run is shorter.
    """

    max_segments: int = 10
    min_score: float = 0.5
    smoothing_seconds: float = 3.0
    min_duration: float = 0.0

    def __post_init__(self) -> None:
        positive(max_segments=self.max_segments)
        if not 0 <= self.min_score <= 1:
            raise ConfigError(f"min_score must be between 0 and 1, not {self.min_score}")
        for name in ("smoothing_seconds", "min_duration"):  # NaN compares false
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} cannot be negative: {getattr(self, name)}")
