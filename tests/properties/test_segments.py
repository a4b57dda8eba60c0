"""Segments of any scores under any options."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.localization.cases import random_timeline
from vtnstream.config import TimelineConfig
from vtnstream.localization.runs import gap_free_runs
from vtnstream.localization.segments import to_segments
from vtnstream.types import ScoreTimeline, Segment

shares = st.floats(0, 1)
seeds = st.integers(0, 2**32 - 1)
options = st.builds(
    TimelineConfig,
    smoothing=st.sampled_from(("none", "median", "gaussian")),
    smoothing_size=st.integers(1, 9),
    min_duration=st.sampled_from((0.0, 0.5, 2.0)),
    merge_gap=st.sampled_from((0.0, 0.5, 2.0)),
    background=st.booleans(),
) | st.builds(
    TimelineConfig,
    threshold=st.none() | shares,
    viterbi=st.none() | st.floats(0, 10),
    min_duration=st.sampled_from((0.0, 1.0)),
    background=st.booleans(),
)


def runs_of(timeline: ScoreTimeline) -> list[tuple[float, float]]:
    """Start and end of each stretch without a gap."""
    times = timeline.times
    return [
        (float(times.start_seconds[part.start]), float(times.end_seconds[part.stop - 1]))
        for part in gap_free_runs(times)
    ]


def check(segments: tuple[Segment, ...], timeline: ScoreTimeline) -> None:
    edges = {*timeline.times.start_seconds.tolist(), *timeline.times.end_seconds.tolist()}
    runs = runs_of(timeline)
    for segment in segments:
        assert segment.start < segment.end and 0 <= segment.score <= 1
        assert segment.label in timeline.labels
        assert {segment.start, segment.end} <= edges
        assert any(a <= segment.start and segment.end <= b for a, b in runs), "crosses a gap"
    assert list(segments) == sorted(segments, key=lambda s: (s.start, s.end, s.label))


@given(seeds, options)
def test_single_label_segments_are_apart(seed: int, config: TimelineConfig) -> None:
    timeline = random_timeline(seed)
    segments = to_segments(timeline, config)
    check(segments, timeline)
    assert all(a.end <= b.start for a, b in pairwise(segments))
    assert config.background or all(segment.label != "background" for segment in segments)
    assert segments == to_segments(timeline, config)


@given(seeds)
def test_plain_segments_cover_every_token_with_its_best_label(seed: int) -> None:
    timeline = random_timeline(seed)
    segments = to_segments(timeline, TimelineConfig(background=True))
    check(segments, timeline)
    best = timeline.scores.argmax(1)
    for token, label in enumerate(best):
        start = timeline.times.start_seconds[token]
        (segment,) = [s for s in segments if s.start <= start < s.end]
        assert segment.label == timeline.labels[int(label)]


@given(seeds, st.sampled_from((0.5, 1.0, 2.0)))
def test_short_segments_are_gone_where_a_longer_one_stands_beside(seed: int, least: float) -> None:
    timeline = random_timeline(seed)
    segments = to_segments(timeline, TimelineConfig(background=True, min_duration=least))
    whole = {(a, b) for a, b in runs_of(timeline)}
    for segment in segments:
        assert segment.end - segment.start >= least - 1e-6 or (segment.start, segment.end) in whole


@given(seeds, shares, st.sampled_from(("none", "hard", "soft")))
def test_multi_label_segments_of_one_label_are_apart(seed: int, threshold: float, nms: str) -> None:
    timeline = random_timeline(seed, multi_label=True)
    config = TimelineConfig(threshold=threshold, nms=nms, background=True)
    segments = to_segments(timeline, config)
    check(segments, timeline)
    if nms == "none":
        for label in timeline.labels:
            own = [s for s in segments if s.label == label]
            assert all(a.end <= b.start for a, b in pairwise(own))
            covered = sum(s.end - s.start for s in own)
            index = timeline.labels.index(label)
            on = timeline.scores[:, index] >= np.float32(threshold)
            times = timeline.times
            lengths = times.end_seconds - times.start_seconds
            assert covered <= lengths[on].sum() + 1e-6
