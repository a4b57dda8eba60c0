"""Styles of editing follow from the cuts and transitions that were found."""

from __future__ import annotations

import numpy as np
import pytest

from tests.localization.cases import token_times
from vtnstream.config import EventsConfig
from vtnstream.localization.edit_style import (
    Edits,
    edit_counts,
    edits_of,
    style_scores,
    window_styles,
)
from vtnstream.localization.view_changes import measure
from vtnstream.types import ScoreTimeline, Segment

COUNT = 200


def _edits(
    cuts: tuple[int, ...] = (), graduals: tuple[tuple[int, int], ...] = (), still: bool = False
) -> Edits:
    return Edits(
        np.asarray(cuts, np.int64),
        np.asarray(graduals, np.int64).reshape(-1, 2),
        np.zeros(COUNT, np.float32),
        np.full(COUNT, still),
    )


@pytest.mark.parametrize(
    ("edits", "style"),
    [
        (_edits(), "continuous take"),
        (_edits(still=True), "still"),
        (_edits(cuts=(50, 120)), "cut"),
        (_edits(cuts=(50,), graduals=((100, 120), (150, 160))), "slow transitions"),
        (_edits(cuts=(50, 120), still=True), "slideshow"),
    ],
)
def test_style_of_a_video(edits: Edits, style: str) -> None:
    scores = style_scores(edits, 0, COUNT)
    assert max(scores, key=lambda name: scores[name]) == style
    assert sum(scores.values()) == pytest.approx(1)


def test_candidates_reduce_the_confidence_in_a_take() -> None:
    edits = _edits()
    edits.confidence[80] = 0.9
    scores = style_scores(edits, 0, COUNT)
    assert scores["continuous take"] == pytest.approx(0.55)
    assert scores["cut"] == pytest.approx(0.45)


def test_windows_have_the_style_of_their_cuts() -> None:
    """With cuts in the second half, the windows give a take, then cut."""
    times = token_times([0.04] * COUNT)
    edits = _edits(cuts=(120, 140, 160, 180))
    found = window_styles(edits, times, 32, 16, "sliding")
    assert [s.label for s in found] == ["continuous take", "cut"]
    assert found[0].start == 0
    assert found[-1].end == pytest.approx(8)
    assert found[0].end == found[1].start
    assert 88 <= round(found[1].start * 25) <= 120, "within a window of the first cut"
    assert {s.track for s in found} == {"sliding"}


def test_uncertain_windows_give_no_segment_and_none_crosses_a_gap() -> None:
    edits = _edits()
    edits.confidence[:] = 1
    times = token_times([0.04] * COUNT)
    assert window_styles(edits, times, 32, 16, "sliding") == []
    gap = token_times([0.04] * COUNT, holes={100: 5.0})
    found = window_styles(_edits(), gap, 32, 16, "sliding")
    assert len(found) == 2


def test_edits_are_read_from_segments() -> None:
    labels = ("shot", "cut", "dissolve", "freeze", "black")
    scores = np.full((100, 5), 0.02, np.float32)
    scores[:, 0] = 0.9
    timeline = ScoreTimeline(scores, token_times([0.04] * 100), labels, False)
    events = EventsConfig(moments=("cut",), joined=("dissolve",), held=("freeze",))
    segments = (
        Segment(0.0, 0.8, "shot", 0.9),
        Segment(0.8, 1.6, "shot", 0.9),
        Segment(1.6, 2.0, "dissolve", 0.9),
        Segment(2.0, 3.2, "shot", 0.9),
        Segment(3.2, 4.0, "freeze", 0.9),
    )
    changes = [measure([np.zeros((100, 288), np.float32)], timeline.times.start_seconds, (8, 12))]
    edits = edits_of(timeline, events, changes, segments)
    assert edits.cuts.tolist() == [20]
    assert edits.graduals.tolist() == [[40, 50]]
    counts = edit_counts(segments, edits)
    assert counts["shots"] == 3
    assert (counts["cuts"], counts["transitions"]) == (1, 1)
    assert counts["average_shot_seconds"] == pytest.approx((0.8 + 0.8 + 1.2) / 3, abs=1e-3)
