"""Configuration of multi-view inference: clips and crops (paper section 4.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from vtnstream.errors import ConfigError

_NUM_CROPS = (1, 3)


@dataclass(frozen=True, slots=True)
class ViewsConfig:
    """Clips x crops of one video; the probabilities of all views are averaged.

    Attributes:
        num_clips: number of clips, whose starts are evenly spaced over the video.
        num_crops: 1 (centre) or 3 (left, centre and right, or top, centre and bottom).
        num_frames: frames per clip.
        clip_seconds: duration of a clip in models that do not sample by rate: 5.12 s is 16 times
            every eighth of 25 frames/s. Models that sample by rate keep their rate.
    """

    num_clips: int = 10
    num_crops: int = 3
    num_frames: int = 16
    clip_seconds: Fraction = Fraction(128, 25)

    def __post_init__(self) -> None:
        if self.num_clips < 1 or self.num_frames < 1 or self.clip_seconds <= 0:
            raise ConfigError("views need at least one clip of at least one frame")
        if self.num_crops not in _NUM_CROPS:
            raise ConfigError(f"views have 1 or 3 crops, not {self.num_crops}")

    @classmethod
    def parse(cls, text: str) -> ViewsConfig:
        """Parse clips x crops, such as ``10x3``.

        Raises:
            ConfigError: the text does not have this form.
        """
        found = re.fullmatch(r"(\d{1,4})x(\d)", text.strip().lower())
        if not found:
            raise ConfigError(f"views are written CLIPSxCROPS, such as 10x3, not {text!r}")
        return cls(num_clips=int(found[1]), num_crops=int(found[2]))

    def describe(self) -> str:
        """Return the short form, such as ``10x3``."""
        return f"{self.num_clips}x{self.num_crops}"
