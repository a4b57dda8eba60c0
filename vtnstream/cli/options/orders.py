"""Evaluation protocols by name (``--order``)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vtnstream.cli.framework.command import given
from vtnstream.config import TimelineConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.errors import UsageError

if TYPE_CHECKING:
    from vtnstream.config import ModelConfig

ORDERS = {
    "full-video": "one pass over each whole video",
    "reference": "one pass, frames read and prepared as PySlowFast does",
    "multi-view": "mean over 10 clips x 3 crops",
    "multi-view-4x3": "mean over 4 clips x 3 crops",
    "offline": "each moment is predicted from the whole video",
    "online": "each moment is predicted from the frames up to it",
}
"""Name -> description: those of VTN and SlowFast, of ViViT, and of surgical phase recognition."""
_OF_CLASSES = ("full-video", "reference", "multi-view", "multi-view-4x3")
_OF_SEGMENTS = ("offline", "online")

_LOOKS_AHEAD = {
    "smoothing": "none",
    "viterbi": None,
    "min_duration": 0.0,
    "merge_gap": 0.0,
    "nms": "none",
    "window": None,
}
"""Timeline settings that use later moments -> the value that turns them off."""


def resolve_order(asked: str | None, *, segments: bool) -> str:
    """Return the protocol named by ``--order``, or the default for these annotations.

    Raises:
        UsageError: the protocol does not fit the annotations.
    """
    if asked is None:
        return "offline" if segments else "full-video"
    if asked not in (_OF_SEGMENTS if segments else _OF_CLASSES):
        needs, given = ("classes", "segments") if segments else ("segments", "classes")
        fitting = " or ".join(_OF_SEGMENTS if segments else _OF_CLASSES)
        raise UsageError(
            f"--order {asked} needs annotations of {needs}, but these are {given}: use {fitting}"
        )
    return asked


def refuse_idle(values: Mapping[str, Any], *, segments: bool) -> None:
    """Refuse options on the command line that would do nothing.

    Raises:
        UsageError: an option of the model with stored predictions, or one of segments with
            annotations of classes.
    """
    timeline = tuple(field.name for field in dataclasses.fields(TimelineConfig))
    idle: dict[str, str] = {}
    if values["predictions"] is not None:
        idle |= dict.fromkeys((*timeline, "order"), "--predictions, which are taken as they are")
    if not segments:
        of_segments = (*(set(timeline) - {"window"}), "phases", "unlabelled", "frame_rate")
        idle |= dict.fromkeys(of_segments, "annotations of classes")
    for name, why in idle.items():
        if given(name):
            raise UsageError(f"--{name.replace('_', '-')} does nothing with {why}: leave it out")


def views_of(order: str) -> ViewsConfig | None:
    """Return the clips and crops of a protocol, or None for one pass."""
    return {
        "multi-view": ViewsConfig(),
        "multi-view-4x3": ViewsConfig(num_clips=4),
    }.get(order)


def check_online(model: ModelConfig, timeline: TimelineConfig) -> None:
    """Check that no prediction depends on later frames.

    Raises:
        UsageError: the model or a timeline setting uses later frames.
    """
    if not model.temporal.causal:
        raise UsageError(
            f"--order online: model {model.name} uses later frames: train a model with --set "
            "temporal.causal=true"
        )
    if not model.head.dense_labels or timeline.localize not in ("auto", "dense"):
        raise UsageError(
            "--order online needs the dense head: a model with dense labels, and --localize auto "
            "or dense"
        )
    for name, without in _LOOKS_AHEAD.items():
        if getattr(timeline, name) != without:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"--order online: {flag} uses later moments: leave it out")
