"""Clips with a temporal footprint: a number of frames spread evenly over a number of seconds."""

from __future__ import annotations

from fractions import Fraction

from vtnstream.config import SamplingConfig, TrainConfig
from vtnstream.errors import ConfigError

_FINE_RATE = 25
"""Frames per second from which clips are taken for models without a rate of their own (the paper's
``TARGET_FPS``, and 250 frames of ten seconds)."""


def clip_sampling(config: TrainConfig) -> SamplingConfig:
    """Return the sampling of the frames that training reads.

    A model that samples at a rate is trained on that grid, so that positions have the same
    meaning in training and inference. Other models are trained on a grid of about 25 frames per
    second, of which a clip takes every ``stride``-th frame. A ViViT is trained on the frames of
    its clips.
    """
    if config.vivit is not None:
        return SamplingConfig(kind="rate", fps=1 / config.vivit.frame_step)
    stride = clip_stride(config)
    if stride is None or config.sampling.kind == "rate":
        return config.sampling
    spacing = Fraction(config.data.clip_seconds).limit_denominator(10**6) / config.data.clip_tokens
    return SamplingConfig(kind="rate", fps=stride / spacing)


def clip_tokens(config: TrainConfig) -> int:
    """Return the maximum number of tokens of a training sequence: the length of a clip if there are
    clips."""
    if config.vivit is not None:
        return config.vivit.num_frames
    return config.data.clip_tokens or config.data.max_tokens


def clip_stride(config: TrainConfig) -> int | None:
    """Return the distance, in grid positions, between frames of a clip; None without a footprint.

    Raises:
        ConfigError: the footprint does not match the model's sampling grid.
    """
    data = config.data
    if config.vivit is not None:
        return 1
    if not data.clip_seconds:
        return None
    spacing = Fraction(data.clip_seconds).limit_denominator(10**6) / data.clip_tokens
    if config.sampling.kind != "rate":
        return max(round(_FINE_RATE * spacing), 1)
    steps = spacing * config.sampling.fps
    if steps.denominator != 1:
        fps, fits = float(config.sampling.fps), max(round(steps), 1) / config.sampling.fps
        raise ConfigError(
            f"data.clip_seconds {data.clip_seconds:g} of {data.clip_tokens} frames do not lie on "
            f"the grid of {fps:g} frames/s: take {float(fits * data.clip_tokens):g} seconds"
        )
    return int(steps)
