"""The look of a whole video: brightness, bars around the frame, a logo, grain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtnstream.synthesis.shots import HEIGHT, WIDTH, Frames

_BARS = {"none": 0.68, "above and below": 0.12, "left and right": 0.14, "all around": 0.06}


@dataclass(frozen=True, slots=True)
class Look:
    """The look of one video.

    Attributes:
        gain: factor of all brightness.
        rows: rows of black above and below.
        columns: columns of black left and right; the shot is scaled to fit between them.
        bars: colour of the bars.
        grain: standard deviation of the noise, of 255.
        logo: position (top, left, height, width) of a static overlay, or None.
    """

    gain: float = 1.0
    rows: int = 0
    columns: int = 0
    bars: tuple[int, int, int] = (0, 0, 0)
    grain: float = 0.0
    logo: tuple[int, int, int, int] | None = None

    @classmethod
    def drawn(cls, random: np.random.Generator) -> Look:
        """Draw a look at random: most are plain, some dark, grainy, with bars or with a logo."""
        dark, grainy, marked = random.random(3) < (0.12, 0.2, 0.1)
        bars = str(random.choice(list(_BARS), p=list(_BARS.values())))
        logo = None
        color = random.integers(0, 256, 3).tolist() if random.random() < 0.15 else [0, 0, 0]
        if marked:
            high, wide = int(random.integers(4, 12)), int(random.integers(6, 30))
            logo = (
                int(random.integers(HEIGHT - high)),
                int(random.integers(WIDTH - wide)),
                high,
                wide,
            )
        return cls(
            gain=float(random.uniform(0.35, 0.7)) if dark else 1.0,
            rows=int(random.integers(3, 11)) if bars in ("above and below", "all around") else 0,
            columns=int(random.integers(4, 34)) if bars in ("left and right", "all around") else 0,
            bars=(color[0], color[1], color[2]),
            grain=float(random.uniform(1, 7)) if grainy else 0.0,
            logo=logo,
        )

    def over(self, frames: Frames, labels: Sequence[str], random: np.random.Generator) -> Frames:
        """Return the frames with this look. The grain does not change during a freeze.

        Args:
            frames: (T, 64, 96, 3).
            labels: label of each frame.
            random: draws the grain.
        """
        values = frames.astype(np.float32) * np.float32(self.gain)
        if self.grain:
            noise = np.empty(0, np.float32)
            for frame, label in zip(values, labels, strict=True):
                if label != "freeze":
                    noise = random.normal(0, self.grain, frame.shape).astype(np.float32)
                frame += noise
        if self.columns:
            inner = np.linspace(0, WIDTH - 1, WIDTH - 2 * self.columns).astype(int)
            squeezed = values[:, :, inner]
            values[:] = self.bars
            values[:, :, self.columns : WIDTH - self.columns] = squeezed
        if self.rows:
            values[:, : self.rows] = self.bars
            values[:, HEIGHT - self.rows :] = self.bars
        if self.logo is not None:
            top, left, high, wide = self.logo
            part = values[:, top : top + high, left : left + wide]
            part += (random.uniform(0, 255, 3).astype(np.float32) - part) * np.float32(0.7)
        return values.clip(0, 255).astype(np.uint8)
