"""Decide whether spans without an annotation are trained as ``background`` or ignored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtnstream.labels import BACKGROUND
from vtnstream.training.data.features import VideoFeatures
from vtnstream.training.data.targets import labelled_spans
from vtnstream.wording import plural

_MIN_IGNORED_SHARE = 0.5
"""Labelled share of the videos below which the segments are events and the rest is background."""

_MAX_IGNORED_GAP = 30.0
"""Median length of gaps, in seconds, above which their content is background."""


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """Use of spans without a label.

    Attributes:
        choice: ``background`` or ``ignore``.
        why: the reason, in words.
    """

    choice: str
    why: str

    @property
    def is_background(self) -> bool:
        return self.choice == "background"


def resolve_unlabelled(
    asked: str, videos: Sequence[VideoFeatures], labels: Sequence[str]
) -> Unlabelled:
    """Choose between ``background`` and ``ignore``.

    ``auto`` ignores unlabelled spans if at least half of the videos' duration is labelled and
    the gaps are usually short: annotators then left out moments between two segments, which
    resemble either of them. Sparse events in long videos, and long gaps, give ``background``.

    Args:
        asked: ``auto``, ``background`` or ``ignore``.
        videos: videos with annotated segments.
        labels: all labels of the annotations.
    """
    if asked != "auto":
        return Unlabelled(asked, "as asked for")
    if BACKGROUND in labels:
        return Unlabelled("ignore", f"the annotations name {BACKGROUND} themselves")
    if len(labels) < 2:
        return Unlabelled("background", "there is one label only, and the rest is its opposite")
    total = labelled = 0.0
    gaps: list[float] = []
    for item in videos:
        begin = float(item.features.times.start_seconds[0])
        end = float(item.features.times.end_seconds[-1])
        inside, between = _gaps(labelled_spans(item), begin, end)
        total, labelled = total + end - begin, labelled + inside
        gaps += between
    share = labelled / total if total else 0.0
    usual = float(np.median(gaps)) if gaps else 0.0
    facts = f"{share:.0%} of the videos is labelled"
    if gaps:
        length = f"{usual:.1f} s" if usual >= 0.05 else "less than 0.1 s"
        facts += f", {plural(len(gaps), 'gap')} of usually {length}"
    if share < _MIN_IGNORED_SHARE:
        return Unlabelled("background", f"{facts}: sparse events")
    if usual > _MAX_IGNORED_GAP:
        return Unlabelled("background", f"{facts}: long gaps show something of their own")
    return Unlabelled("ignore", f"{facts}: short gaps between segments")


def _gaps(
    spans: Sequence[tuple[float, float]], begin: float, end: float
) -> tuple[float, list[float]]:
    """Return the labelled seconds of a video from ``begin`` to ``end``, and the lengths of its
    gaps."""
    inside, gaps, place = 0.0, [], begin
    for start, stop in (*sorted(spans), (end, end)):
        start, stop = min(max(start, place), end), min(max(stop, place), end)
        if start - place > 1e-6:
            gaps.append(start - place)
        inside += stop - start
        place = stop
    return inside, gaps
