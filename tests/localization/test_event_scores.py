"""Events are confirmed by the changes between frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.localization.cases import token_times
from vtnstream.config import EventsConfig, TimelineConfig
from vtnstream.errors import ConfigError
from vtnstream.localization.events import to_events
from vtnstream.localization.view_changes import ViewChanges, measure
from vtnstream.types import FloatArray, ScoreTimeline

LABELS = ("shot", "cut", "dissolve", "wipe", "black", "freeze")
EVENTS = EventsConfig(
    moments=("cut",),
    joined=("dissolve", "wipe"),
    held=("freeze",),
    fps=25,
    evidence=(-11.0, 0.5, 4.0, 2.0, 0.1, 1.5, 0.0, 0.0),
    view_change=4.0,
)


def _timeline(count: int, fps: float = 25, **labels: slice) -> ScoreTimeline:
    """Return scores that are certain of a shot except at the named labels."""
    scores = np.full((count, len(LABELS)), 0.01, np.float32)
    scores[:, 0] = 0.95
    for label, part in labels.items():
        scores[part] = 0.01
        scores[part, LABELS.index(label)] = 0.95
    return ScoreTimeline(scores, token_times([1 / fps] * count), LABELS, False)


def _frames(*parts: tuple[int, int]) -> FloatArray:
    """Return thumbnails of runs (image, number of frames); image 0 is black."""
    found = []
    for image, count in parts:
        random = np.random.default_rng(image)
        level = random.uniform(0, 255, 288) if image else np.full(288, 4.0)
        found.append(np.repeat(level[None], count, 0))
    frames = np.concatenate(found)
    noise = np.random.default_rng(99).normal(0, 1, frames.shape)
    return (frames + noise).clip(0, 255).astype(np.float32)


def _changes(frames: FloatArray, fps: float = 25) -> list[ViewChanges]:
    return [measure([frames], np.arange(len(frames)) / fps, (8, 12))]


def _labels(
    timeline: ScoreTimeline,
    changes: list[ViewChanges] | None,
    options: TimelineConfig | None = None,
    fps: float = 25,
) -> list[tuple[int, int, str]]:
    found = to_events(timeline, EVENTS, options or TimelineConfig(), changes)
    return [(round(s.start * fps), round(s.end * fps), s.label) for s in found]


def test_a_measured_cut_is_found_despite_low_scores() -> None:
    changes = _changes(_frames((1, 30), (2, 30)))
    assert _labels(_timeline(60), changes) == [(0, 30, "shot"), (30, 60, "shot")]
    assert _labels(_timeline(60), None) == [(0, 60, "shot")]


def test_a_cut_to_the_same_view_is_ignored() -> None:
    frames = _frames((1, 60))
    frames[30] = 250
    timeline = _timeline(60, cut=slice(30, 31))
    assert _labels(timeline, _changes(frames)) == [(0, 60, "shot")]


def test_a_transition_to_the_same_view_is_ignored() -> None:
    timeline = _timeline(80, dissolve=slice(30, 50))
    assert _labels(timeline, _changes(_frames((1, 80)))) == [(0, 80, "shot")]
    found = _labels(timeline, _changes(_frames((1, 40), (2, 40))))
    assert (30, 50, "dissolve") in found


def test_bright_frames_are_not_black_and_moving_ones_not_frozen() -> None:
    bright = _changes(_frames((1, 60)))
    assert _labels(_timeline(60, black=slice(40, 60)), bright) == [(0, 60, "shot")]
    dark = _changes(_frames((1, 40), (0, 20)))
    assert _labels(_timeline(60, black=slice(40, 60)), dark)[-1] == (40, 60, "black")
    moving = _frames((1, 60)) + np.arange(60, dtype=np.float32)[:, None]
    frozen = moving.copy()
    frozen[40:] = frozen[40]
    timeline = _timeline(60, freeze=slice(40, 60))
    assert _labels(timeline, _changes(moving)) == [(0, 60, "shot")]
    assert _labels(timeline, _changes(frozen))[-1][2] == "freeze"


def test_a_short_freeze_belongs_to_its_shot() -> None:
    frames = _frames((1, 60)) + np.arange(60, dtype=np.float32)[:, None]
    frames[50:] = frames[50]
    events = replace(EVENTS, held_length=12)
    timeline = _timeline(60, freeze=slice(50, 60))
    found = to_events(timeline, events, TimelineConfig(), _changes(frames))
    assert [s.label for s in found] == ["shot"]
    assert [label for _, _, label in _labels(timeline, _changes(frames))] == ["shot", "freeze"]


def test_black_below_confidence_stays_a_shot() -> None:
    timeline = _timeline(60)
    timeline.scores[40:, 0], timeline.scores[40:, 4] = 0.3, 0.45
    frames = _frames((1, 40), (0, 20))
    frames[40:] += 12  # dark, though not without doubt
    assert {label for _, _, label in _labels(timeline, _changes(frames))} == {"shot"}


@pytest.mark.parametrize(("fps", "count"), [(4, 4), (12, 10), (25, 20), (120, 90)])
def test_limits_in_frames_follow_the_frame_rate(fps: float, count: int) -> None:
    """A cut after some seconds and a dissolve of half of them, at each frame rate."""
    changes = _changes(_frames((1, count), (2, count), (3, count)), fps)
    part = slice(2 * count - count // 4, 2 * count + count // 4)
    found = _labels(_timeline(3 * count, fps, dissolve=part), changes, fps=fps)
    assert found == [
        (0, count, "shot"),
        (count, part.start, "shot"),
        (part.start, part.stop, "dissolve"),
        (part.stop, 3 * count, "shot"),
    ]


def test_sensitivity_and_threshold_are_monotone() -> None:
    timeline = _timeline(200)
    random = np.random.default_rng(3)
    for place in range(20, 190, 20):
        timeline.scores[place, 1] = random.uniform(0.05, 0.9)
    timeline.scores[60:72, 2] = random.uniform(0.3, 0.99, 12)
    events = EventsConfig(moments=("cut",), joined=("dissolve",), held=("freeze",))

    def count(**options: float) -> int:
        return len(to_events(timeline, events, TimelineConfig(**options)))

    by_sensitivity = [count(sensitivity=value / 10) for value in range(11)]
    assert by_sensitivity == sorted(by_sensitivity)
    assert by_sensitivity[0] < by_sensitivity[-1]
    by_threshold = [count(threshold=value / 20) for value in range(10, 20)]
    assert by_threshold == sorted(by_threshold, reverse=True)
    assert count(sensitivity=0.5) == count()


def test_threshold_and_sensitivity_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="give one"):
        TimelineConfig(threshold=0.5, sensitivity=0.5)
    with pytest.raises(ConfigError, match="evidence has 8"):
        EventsConfig(evidence=(1.0, 2.0))
