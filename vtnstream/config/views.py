"""Multi-view inference: how many clips and crops, and what a clip is (paper section 4.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from vtnstream.errors import ConfigError

NUM_CROPS = (1, 3)


@dataclass(frozen=True, slots=True)
class ViewsConfig:
    """Clips x crops of one video, whose probabilities are averaged.

    Attributes:
        num_clips: clips, their starts evenly spaced over the video.
        num_crops: 1 (centre) or 3 (left, centre, right of the short side).
        num_frames: frames of a clip.
        clip_seconds: footprint of a clip in models that do not sample by rate (16 frames at
            every eighth of 25 frames/s: 5.12 s). Models that do keep their own rate.
    """

    num_clips: int = 10
    num_crops: int = 3
    num_frames: int = 16
    clip_seconds: Fraction = Fraction(128, 25)

    def __post_init__(self) -> None:
        if self.num_clips < 1 or self.num_frames < 1 or self.clip_seconds <= 0:
            raise ConfigError("views need at least one clip of at least one frame")
        if self.num_crops not in NUM_CROPS:
            raise ConfigError(f"views have 1 or 3 crops, not {self.num_crops}")

    @classmethod
    def parse(cls, text: str) -> ViewsConfig:
        """``10x3``: clips x crops.

        Raises:
            ConfigError: not of that form.
        """
        found = re.fullmatch(r"(\d{1,4})x(\d)", text.strip().lower())
        if not found:
            raise ConfigError(f"views are written CLIPSxCROPS, such as 10x3, not {text!r}")
        return cls(num_clips=int(found[1]), num_crops=int(found[2]))

    def describe(self) -> str:
        """``10x3``."""
        return f"{self.num_clips}x{self.num_crops}"
