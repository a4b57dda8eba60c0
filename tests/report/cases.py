"""Reports that the tests of this room share."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np

from vtnstream.types import (
    ClassScore,
    Curve,
    HeadClasses,
    Partial,
    Report,
    ScoreCurve,
    Segment,
    VideoInfo,
)

VIDEO = VideoInfo(
    path="films/movie.mkv",
    size_bytes=1_234_567_890,
    format_name="matroska,webm",
    codec_name="h264",
    profile="High",
    pixel_format="yuv420p",
    stream_index=0,
    num_video_streams=1,
    width=1920,
    height=1080,
    coded_width=1920,
    coded_height=1088,
    rotation=0,
    mirrored=False,
    sample_aspect_ratio=Fraction(1),
    time_base=Fraction(1, 90000),
    start_seconds=Fraction(7, 5),
    average_rate=Fraction(30000, 1001),
    duration_from_header=Fraction(36001, 10),
    num_frames_from_header=None,
    has_audio=True,
    warnings=("a header that lies",),
)

LABELS = ("background", "preparation", "dissection", "clipping", "packaging")

SEGMENTS = (
    Segment(0.0, 421.5, "preparation", 0.934567891),
    Segment(421.5, 1800.0, "dissection", 0.81),
    Segment(1805.25, 2400.0, "clipping", 0.5),
    Segment(2400.0, 3600.1, "packaging", 0.9999999),
)

REPORT = Report(
    input="films/movie.mkv",
    video=VIDEO,
    model={"name": "vtn-test", "source": None, "weights_sha256": "ab" * 32},
    classes=(ClassScore("cholecystectomy", 0.9731), ClassScore("hernia repair", 0.0004)),
    segments=SEGMENTS,
    labels=LABELS,
    start_seconds=0.0,
    end_seconds=3600.1,
    sampling={"kind": "rate", "fps": "2", "description": "2 frames/s"},
    settings={"window": 64, "tracks": ["dense"]},
    attention=Curve(0.0, 3600.1, (0.5, None, 1.75)),
    scores=(
        ScoreCurve(
            0.0, 3600.1, (0.9, 0.2, 0.0625), "preparation", (0.7, 0.1, 0.0), (1.0, 0.4, 0.1)
        ),
        ScoreCurve(0.0, 3600.1, (0.0, None, 0.8), "dissection", track="dense"),
    ),
    frame_rate=Fraction(30000, 1001),
    run={"tokens": 7200, "frames_decoded": 107892, "from_store": False, "seconds": 41.25},
    warnings=("one warning",),
)

HEADS = (
    HeadClasses("verb", (ClassScore("take", 0.75), ClassScore("put", 0.25))),
    HeadClasses("noun", (ClassScore("lid", 0.5), ClassScore("pan", 0.5))),
)
"""Classes by two class heads."""

PARTIAL = Partial(
    reasons=("3 packets could not be decoded", "the file ends early"),
    seconds_read=2410.5,
    seconds_expected=3600.1,
    gaps=((1800.0, 1805.25),),
    num_packet_errors=3,
)


def report(**changes: Any) -> Report:
    """Return :data:`REPORT` with some fields replaced."""
    return dataclasses.replace(REPORT, **changes)


def many_segments(count: int, *, num_labels: int = 5, seed: int = 0) -> tuple[Segment, ...]:
    """Return consecutive segments of random lengths."""
    rng = np.random.default_rng(seed)
    edges = np.concatenate([[0.0], np.cumsum(rng.uniform(0.5, 20, count))]).tolist()
    labels = rng.integers(0, num_labels, count).tolist()
    return tuple(
        Segment(a, b, f"label {k}", 0.5 + k / 100)
        for a, b, k in zip(edges[:-1], edges[1:], labels, strict=True)
    )
