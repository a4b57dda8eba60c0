"""Published orders of evaluation, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtnstream.config import TimelineConfig
from vtnstream.config.views import ViewsConfig
from vtnstream.errors import UsageError

if TYPE_CHECKING:
    from vtnstream.config import ModelConfig

ORDERS = {
    "full-video": "one pass over the whole of each video",
    "multi-view": "mean over 10 clips x 3 crops",
    "multi-view-4x3": "mean over 4 clips x 3 crops",
    "offline": "each moment judged with the whole video known",
    "online": "each moment judged by what came before it",
}
"""Name -> what it does: VTN's and SlowFast's, ViViT's, and those of surgical phases."""
OF_CLASSES = ("full-video", "multi-view", "multi-view-4x3")
OF_SEGMENTS = ("offline", "online")

_LOOKS_AHEAD = {
    "smoothing": "none",
    "viterbi": None,
    "min_duration": 0.0,
    "merge_gap": 0.0,
    "nms": "none",
    "window": None,
}
"""What decides a moment by later ones -> what leaves it out."""


def resolve_order(asked: str | None, *, segments: bool) -> str:
    """The order that is asked for, or that of the annotations.

    Raises:
        UsageError: it judges something else.
    """
    if asked is None:
        return "offline" if segments else "full-video"
    if asked not in (OF_SEGMENTS if segments else OF_CLASSES):
        judges, given = ("classes of videos", "segments") if segments else ("moments", "classes")
        raise UsageError(f"--order {asked} judges {judges}, and these are {given}")
    return asked


def views_of(order: str) -> ViewsConfig | None:
    """Clips and crops, or None for one pass."""
    return {
        "multi-view": ViewsConfig(),
        "multi-view-4x3": ViewsConfig(num_clips=4),
    }.get(order)


def check_online(model: ModelConfig, timeline: TimelineConfig) -> None:
    """
    Raises:
        UsageError: something knows the future.
    """
    if not model.temporal.causal:
        raise UsageError(
            f"--order online: model {model.name} sees the future; train one with --set "
            "temporal.causal=true"
        )
    if not model.head.dense_labels or timeline.localize not in ("auto", "dense"):
        raise UsageError("--order online judges by the dense head, moment by moment")
    for name, without in _LOOKS_AHEAD.items():
        if getattr(timeline, name) != without:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"--order online: {flag} decides a moment by later ones, leave it out")
