"""Describe a model's config in words, for ``models show`` and the model card."""

from __future__ import annotations

from collections.abc import Sequence

from vtnstream.config import ModelConfig


def config_facts(config: ModelConfig) -> list[tuple[str, str]]:
    """Return the pairs of name and value without the labels, in the order in which data pass the
    model."""
    prepare = config.preprocess
    arguments = ", ".join(f"{k}={v}" for k, v in config.backbone.key().items())
    return [
        ("backbone", f"{config.backbone.name} {arguments}".rstrip()),
        (
            "frames",
            f"{prepare.frame_width} x {prepare.size}, {prepare.crop}, {prepare.interpolation}",
        ),
        ("colours", f"mean {_numbers(prepare.mean)}, std {_numbers(prepare.std)}"),
        ("sampling", config.sampling.describe(config.frames_per_token)),
        ("feature norm", config.feature_norm),
        *_temporal_facts(config),
    ]


def _temporal_facts(config: ModelConfig) -> list[tuple[str, str]]:
    time, vivit = config.temporal, config.vivit
    if vivit is None:
        return [("encoder", time.describe()), ("positions", time.positions)]
    frames, height, width = vivit.tubelet
    step = f"every {vivit.stride}. of {float(vivit.frame_rate):g} frames/s"
    clip = f"{vivit.num_frames} frames, {vivit.clip_tokens} tokens, {step}"
    facts = [("form", vivit.form), ("tubelets", f"{frames} x {height} x {width}"), ("clip", clip)]
    if vivit.reads_sequences:
        facts.append(("encoder", f"{vivit.temporal_layers} layers over time"))
    return facts


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
