"""Build the report of one video from its source and the result of the model."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from vtnstream.config import ModelConfig, SamplingConfig, TimelineConfig
from vtnstream.config.loading import to_dict
from vtnstream.config.shipped import BUNDLED_MODEL, BUNDLED_SAYS
from vtnstream.config.summary import SummaryConfig
from vtnstream.encoding.run_facts import ComputedOn
from vtnstream.encoding.stored import OpenedFeatures
from vtnstream.report.timebase import Clock
from vtnstream.scoring.analysis import Analysis
from vtnstream.timecode import STANDARD_RATES
from vtnstream.transport.address import shown
from vtnstream.types import FrameIndex, Report, Segment, VideoInfo

_MOST_RUNS = 1000
"""Largest number of changes of frame rate that a report lists."""

_FEWEST_FRAMES = 3
"""Fewest frames from which a rate is found; fewer fit any rate."""

_NEAR_RATE = Fraction(1, 200)
"""Largest relative difference between a standard rate and a header's rate that stands for it."""


def report_of(
    path: str | Path,
    source: OpenedFeatures,
    about: Mapping[str, Any],
    computed: ComputedOn,
    sampling: SamplingConfig,
    localize: TimelineConfig | None,
    analysis: Analysis | None,
    summary: SummaryConfig | None = None,
) -> Report:
    """Build the report of ``path`` by the model ``about``.

    ``analysis`` is None if only features were requested, ``localize`` if no timeline was, and
    ``summary`` if no summary was.
    """
    times = source.features.times
    read = analysis.facts if analysis else {}
    segments = (analysis.segments if analysis else None) or ()
    settings = {} if localize is None else to_dict(localize)
    if analysis is not None and localize is not None:
        settings["tracks"] = list(analysis.tracks)
    if summary is not None:
        settings["summary"] = to_dict(summary)
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


def about_model(config: ModelConfig, weights_sha256: str, source: str | None) -> dict[str, Any]:
    """Return the section ``model`` of a report.

    Args:
        config: of the model.
        weights_sha256: hash of all weights.
        source: the folder or name given by the user.
    """
    about = {
        "name": config.name,
        "source": source,
        "weights_sha256": weights_sha256,
        "config_sha256": config_sha256(config),
        "architecture": config.architecture,
        "backbone": config.backbone.name,
    }
    return about | ({"says": BUNDLED_SAYS} if source == BUNDLED_MODEL else {})


def config_sha256(config: ModelConfig) -> str:
    """Return a hash of the whole config of a model."""
    text = json.dumps(to_dict(config), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def constant_frame_rate(frames: FrameIndex | None, info: VideoInfo) -> Fraction | None:
    """Return the constant frame rate that fits all counted frames, or None.

    The header of a video with a variable rate gives the average, and that of a constant rate may
    be rounded. Standard rates near the header's are therefore tried first, and compared with the
    times of the frames. Times may differ by one tick of the file's clock (Matroska rounds to
    milliseconds).
    """
    if frames is None or len(frames.runs) != 1 or frames.count < _FEWEST_FRAMES:
        return None
    run = frames.runs[0]
    seconds = (run.last_tick - run.first_tick) * info.time_base
    for rate in _candidate_rates(info, (run.count - 1) / seconds):
        slack = min(Fraction(1, 4), rate * info.time_base + Fraction(1, 1000))
        if abs(seconds * rate - (run.count - 1)) <= slack:
            return rate
    return None


def _candidate_rates(info: VideoInfo, measured: Fraction) -> Iterator[Fraction]:
    average = info.average_rate or measured
    lowest, highest = average * (1 - _NEAR_RATE), average * (1 + _NEAR_RATE)
    near = [rate for rate in STANDARD_RATES if lowest <= rate <= highest]
    near.sort(key=lambda rate: abs(rate - average))
    yield from near
    yield average
    yield measured.limit_denominator(1001)


@functools.cache
def _versions() -> Mapping[str, str]:
    """Return the versions of the libraries; they are read once, because that takes 18 ms."""
    return {
        **{name: importlib.metadata.version(name) for name in ("vtnstream", "av", "timm")},
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
