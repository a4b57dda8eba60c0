"""Clips of a footprint: so many frames, evenly over so many seconds, from a random moment."""

from __future__ import annotations

from fractions import Fraction

from vtnstream.config import SamplingConfig, TrainConfig
from vtnstream.errors import ConfigError

FINE_RATE = 25
"""Frames/s that clips of models without a rate of their own are taken from (the paper's
``TARGET_FPS``, and what 250 frames of ten seconds are)."""


def clip_sampling(config: TrainConfig) -> SamplingConfig:
    """The grid that training reads frames on: the model's own, or a fine one around it.

    A model that samples at a rate is trained on that grid, so that positions mean the same in
    training and use; another one on a grid of about 25 frames/s, of which a clip takes every
    ``stride``-th. A ViViT's frames are those of its clips.
    """
    if config.vivit is not None:
        return SamplingConfig(kind="rate", fps=1 / config.vivit.frame_step)
    stride = clip_stride(config)
    if stride is None or config.sampling.kind == "rate":
        return config.sampling
    spacing = Fraction(config.data.clip_seconds).limit_denominator(10**6) / config.data.clip_tokens
    return SamplingConfig(kind="rate", fps=stride / spacing)


def clip_tokens(config: TrainConfig) -> int:
    """Most tokens of a training sequence: of a clip, where clips are trained on. A ViViT sees
    clips of ``num_frames`` frames and nothing else."""
    if config.vivit is not None:
        return config.vivit.num_frames
    return config.data.clip_tokens or config.data.max_tokens


def clip_stride(config: TrainConfig) -> int | None:
    """Grid positions from frame to frame of a clip; None where clips have no footprint.

    Raises:
        ConfigError: the footprint does not fit the grid of the model.
    """
    data = config.data
    if config.vivit is not None:
        return 1
    if not data.clip_seconds:
        return None
    spacing = Fraction(data.clip_seconds).limit_denominator(10**6) / data.clip_tokens
    if config.sampling.kind != "rate":
        return max(round(FINE_RATE * spacing), 1)
    steps = spacing * config.sampling.fps
    if steps.denominator != 1:
        fps, fits = float(config.sampling.fps), max(round(steps), 1) / config.sampling.fps
        raise ConfigError(
            f"data.clip_seconds {data.clip_seconds:g} of {data.clip_tokens} frames do not lie on "
            f"the grid of {fps:g} frames/s: take {float(fits * data.clip_tokens):g} seconds"
        )
    return int(steps)
