"""Build the report of one video from its source and the result of the model."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vtnstream.config import SamplingConfig, TimelineConfig
from vtnstream.config.loading import to_dict
from vtnstream.encoding.run_facts import ComputedOn
from vtnstream.inference.frame_rate import constant_frame_rate
from vtnstream.inference.opened import Source
from vtnstream.report.timebase import Clock
from vtnstream.scoring.analysis import Analysis
from vtnstream.transport.address import shown
from vtnstream.types import FrameIndex, Report, Segment, VideoInfo

_MOST_RUNS = 1000
"""Largest number of changes of frame rate that a report lists."""


def report_of(
    path: str | Path,
    source: Source,
    about: Mapping[str, Any],
    computed: ComputedOn,
    sampling: SamplingConfig,
    localize: TimelineConfig | None,
    analysis: Analysis | None,
) -> Report:
    """Build the report of ``path`` by the model ``about``.

    ``analysis`` is None if only features were requested, ``localize`` if no timeline was.
    """
    times = source.features.times
    read = analysis.facts if analysis else {}
    segments = (analysis.segments if analysis else None) or ()
    settings = {} if localize is None else to_dict(localize)
    if analysis is not None and localize is not None:
        settings["tracks"] = list(analysis.tracks)
    return Report(
        input=shown(os.fspath(path)),
        video=source.info,
        model=about,
        classes=analysis.classes if analysis else (),
        segments=analysis.segments if analysis else None,
        labels=analysis.labels if analysis else (),
        start_seconds=float(times.start_seconds[0]),
        end_seconds=float(times.end_seconds[-1]),
        partial=source.partial,
        sampling={
            **sampling.key(),
            **computed.shape.key(),
            "description": sampling.describe(computed.shape.burst.frames),
        },
        settings=settings,
        attention=analysis.attention if analysis else None,
        scores=analysis.scores if analysis else (),
        frame_scores=analysis.frame_scores if analysis else None,
        frame_rate=constant_frame_rate(source.frames, source.info),
        frames=_kept_frames(source.frames, segments, source.info),
        run={**source.facts.as_dict(), **read, **computed.as_dict(), **_versions()},
        warnings=source.warnings + (analysis.warnings if analysis else ()),
        heads=analysis.heads if analysis else (),
    )


def _kept_frames(
    frames: FrameIndex | None, segments: Sequence[Segment], info: VideoInfo
) -> FrameIndex | None:
    """Return the frame numbers that a report holds.

    They are all of them, or if the rate changes often those at which segments begin and end.
    """
    if frames is None or len(frames.runs) <= _MOST_RUNS:
        return frames
    clock = Clock.of(info)
    return frames.around(clock.tick_of(t) for s in segments for t in (s.start, s.end))


@functools.cache
def _versions() -> Mapping[str, str]:
    """Return the versions of the libraries; they are read once, because that takes 18 ms."""
    return {
        **{name: importlib.metadata.version(name) for name in ("vtnstream", "av", "timm")},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
