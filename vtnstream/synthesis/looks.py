"""What a whole film has in common: how dark it is, bars above and below, grain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtnstream.synthesis.shots import HEIGHT, Frames


@dataclass(frozen=True, slots=True)
class Look:
    """One film's.

    Attributes:
        gain: factor of all brightness.
        bar: rows of black above and below.
        grain: standard deviation of the noise, of 255.
    """

    gain: float = 1.0
    bar: int = 0
    grain: float = 0.0

    @classmethod
    def drawn(cls, random: np.random.Generator) -> Look:
        """Most films plain, some dark, some with bars, some grainy."""
        dark, bars, grainy = random.random(3) < (0.12, 0.15, 0.2)
        return cls(
            gain=float(random.uniform(0.35, 0.7)) if dark else 1.0,
            bar=int(random.integers(3, 11)) if bars else 0,
            grain=float(random.uniform(1, 7)) if grainy else 0.0,
        )

    def over(self, frames: Frames, labels: Sequence[str], random: np.random.Generator) -> Frames:
        """The frames with this look; the grain of a freeze stands still with it.

        Args:
            frames: (T, 64, 96, 3).
            labels: of each frame.
            random: of the grain.
        """
        values = frames.astype(np.float32) * np.float32(self.gain)
        if self.grain:
            noise = np.empty(0, np.float32)
            for frame, label in zip(values, labels, strict=True):
                if label != "freeze":
                    noise = random.normal(0, self.grain, frame.shape).astype(np.float32)
                frame += noise
        if self.bar:
            values[:, : self.bar] = 0
            values[:, HEIGHT - self.bar :] = 0
        return values.clip(0, 255).astype(np.uint8)
