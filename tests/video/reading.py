"""Read a test video and identify the frame of each token."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests import synth
from vtnstream.config import SamplingConfig
from vtnstream.types import DecodeSummary, FrameChunk, TokenTimes, VideoInfo
from vtnstream.video.source import open_video


@dataclass
class Reading:
    """Result of a whole pass."""

    info: VideoInfo
    chunks: list[FrameChunk]
    summary: DecodeSummary

    @property
    def times(self) -> TokenTimes:
        return TokenTimes.concatenate([chunk.times for chunk in self.chunks])

    @property
    def frames(self) -> np.ndarray:
        return np.concatenate([chunk.frames for chunk in self.chunks])

    @property
    def indices(self) -> list[int]:
        return self.times.indices.tolist()

    @property
    def numbers(self) -> list[int]:
        """The numbers drawn on the frames."""
        return [synth.read(frame) for frame in self.frames]

    @property
    def starts(self) -> list[float]:
        return self.times.start_seconds.round(6).tolist()

    @property
    def ends(self) -> list[float]:
        return self.times.end_seconds.round(6).tolist()

    def shown(self) -> dict[int, int]:
        """Token index -> number on its frame."""
        return dict(zip(self.indices, self.numbers, strict=True))


def sampling(kind: str = "rate", **options: Any) -> SamplingConfig:
    if "fps" in options:
        options["fps"] = Fraction(options["fps"])
    return SamplingConfig(kind=kind, **options)


def read(path: Path, config: SamplingConfig | None = None, **options: Any) -> Reading:
    """Read a video with the given sampling (2 frames/s by default)."""
    options.setdefault("fit", synth.whole(32))
    with open_video(path, config or sampling(), **options) as source:
        chunks = list(source.chunks())
        return Reading(source.info, chunks, source.summary)
