"""Tokens of several frames: what a ViViT's encoder sees of a video.

A token is made of t frames (a burst), and encoded alone or as the first of a clip. Frames of
one sample stand one below the other in one tall picture, so that whatever carries, batches
and encodes pictures carries samples too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vtnstream.config import ModelConfig, SamplingConfig
from vtnstream.errors import UsageError
from vtnstream.types import FrameChunk, TokenTimes
from vtnstream.video.sampling.grid import SINGLE, Burst


@dataclass(frozen=True, slots=True)
class SampleShape:
    """What of a video one call of the encoder sees.

    Attributes:
        burst: frames a token is made of.
        clip: tokens of a clip; 0 where each token is encoded alone.
        hop: tokens from one clip to the next.
        form: of the model, whose weights alone do not say how they are used.
    """

    burst: Burst = SINGLE
    clip: int = 0
    hop: int = 1
    form: str = ""

    @property
    def is_single(self) -> bool:
        """A token is one frame, as in a VTN."""
        return self.burst.frames == 1 and not self.clip

    @property
    def frames_at_once(self) -> int:
        """Frames of one sample."""
        return self.burst.frames * max(1, self.clip)

    def key(self) -> dict[str, Any]:
        """What decides the features of a token beside the grid: part of the feature key."""
        if self.is_single:
            return {}
        frames, step = self.burst.frames, str(self.burst.step)
        parts: dict[str, Any] = {"frames": frames, "step": step, "form": self.form}
        return parts | ({"clip": self.clip, "hop": self.hop} if self.clip else {})

    def check(self, sampling: SamplingConfig) -> None:
        """Raises:
        UsageError: with this rate a token would begin before the one before it has ended.
        """
        footprint = (self.burst.frames - 1) * self.burst.step
        if sampling.kind == "rate" and footprint * sampling.fps >= 1:
            raise UsageError(
                f"{float(sampling.fps):g} samples/s are too many for this model: one takes "
                f"{self.burst.frames} frames {float(self.burst.step):g} s apart, so choose less "
                f"than {float(1 / footprint):g}"
            )

    def count_tokens(self, num_picked: int | None, sampling: SamplingConfig) -> int | None:
        """Tokens of so many points of a sampling: kinds that count frames count each."""
        if num_picked is None or sampling.kind == "rate":
            return num_picked
        return -(-num_picked // self.burst.frames)


FRAMES = SampleShape()


def sample_shape(config: ModelConfig) -> SampleShape:
    """What the frame encoder of a model sees at once; clips lie half a clip apart."""
    vivit = config.vivit
    if vivit is None:
        return FRAMES
    burst = Burst(vivit.tubelet[0], vivit.frame_step)
    if vivit.reads_sequences:
        return SampleShape(burst, form=vivit.form)
    clip = vivit.clip_tokens
    return SampleShape(burst, clip, max(1, clip // 2), vivit.form)


def grouped(chunk: FrameChunk, size: int) -> FrameChunk:
    """Frames whose indices count through to tokens of ``size`` of them, one below the other.

    A token is there where its first frame is; frames that are missing behind it (a gap, the
    end of the film) are the last one before them. Its ``pts`` is that of its last frame.
    """
    times, indices = chunk.times, chunk.times.indices
    tokens = indices[indices % size == 0] // size  # (T,)
    wanted = tokens[:, None] * size + np.arange(size)  # (T, t)
    places = np.searchsorted(indices, wanted, side="right") - 1
    first, last = places[:, 0], places[:, -1]
    _, height, width, _ = chunk.frames.shape
    return FrameChunk(
        chunk.frames[places].reshape(len(tokens), size * height, width, 3),
        TokenTimes(tokens, times.pts[last], times.start_seconds[first], times.end_seconds[last]),
        chunk.first_index // size,
        -(-chunk.stop_index // size),
        chunk.stats,
    )
