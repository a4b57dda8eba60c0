"""The input of a frame encoder: a single frame, a burst of frames, or a clip (ViViT).

A token consists of t frames (a burst). It is encoded alone, or as the first token of a clip. The
frames of one sample are stacked vertically in one tall image, so that the code that carries,
batches and encodes images also carries samples.
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
class InputShape:
    """What one call of the frame encoder receives.

    Attributes:
        burst: the frames of a token.
        clip: tokens of a clip; 0 if each token is encoded alone.
        hop: tokens from the start of one clip to the start of the next.
        form: the form of the model; weights alone do not determine how they are applied.
    """

    burst: Burst = SINGLE
    clip: int = 0
    hop: int = 1
    form: str = ""

    @property
    def is_single(self) -> bool:
        """Whether a token is a single frame, as in a VTN."""
        return self.burst.frames == 1 and not self.clip

    @property
    def frames_at_once(self) -> int:
        """Number of frames of one sample."""
        return self.burst.frames * max(1, self.clip)

    def key(self) -> dict[str, Any]:
        """Return the fields beside the grid that determine the features of a token: part of the
        feature key."""
        if self.is_single:
            return {}
        frames, step = self.burst.frames, str(self.burst.step)
        parts: dict[str, Any] = {"frames": frames, "step": step, "form": self.form}
        return parts | ({"clip": self.clip, "hop": self.hop} if self.clip else {})

    def check(self, sampling: SamplingConfig) -> None:
        """Check that the sampling rate suits the burst.

        Raises:
            UsageError: at this rate a token would begin before the previous one has ended.
        """
        footprint = (self.burst.frames - 1) * self.burst.step
        if sampling.kind == "rate" and footprint * sampling.fps >= 1:
            raise UsageError(
                f"{float(sampling.fps):g} samples/s are too many for this model: one takes "
                f"{self.burst.frames} frames {float(self.burst.step):g} s apart, so choose less "
                f"than {float(1 / footprint):g}"
            )

    def count_tokens(self, num_picked: int | None, sampling: SamplingConfig) -> int | None:
        """Return the number of tokens for ``picked`` sampling points; kinds that count frames
        divide it."""
        if num_picked is None or sampling.kind == "rate":
            return num_picked
        return -(-num_picked // self.burst.frames)


FRAMES = InputShape()


def input_shape(config: ModelConfig) -> InputShape:
    """Return the input shape of a model's frame encoder; clips overlap by half."""
    vivit = config.vivit
    if vivit is None:
        return FRAMES
    burst = Burst(vivit.tubelet[0], vivit.frame_step)
    if vivit.reads_sequences:
        return InputShape(burst, form=vivit.form)
    clip = vivit.clip_tokens
    return InputShape(burst, clip, max(1, clip // 2), vivit.form)


def grouped(chunk: FrameChunk, size: int) -> FrameChunk:
    """Group frames with consecutive indices into tokens of ``size`` frames, stacked vertically.

    A token exists where its first frame exists. Frames missing after it (a gap, the end of the
    video) repeat the last frame before them. The ``pts`` of a token is that of its last frame.
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
