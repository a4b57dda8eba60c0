"""Moments and transitions from scores of each token."""

from __future__ import annotations

from itertools import groupby, pairwise

import numpy as np
import pytest

from tests.localization.cases import random_timeline, token_times
from vtnstream.config import EventsConfig, HeadConfig, TimelineConfig
from vtnstream.errors import ConfigError
from vtnstream.localization.events import local_maxima, steadied, stretches, to_events
from vtnstream.types import ScoreTimeline, Segment

LABELS = ("shot", "cut", "dissolve", "wipe", "black")
EVENTS = EventsConfig(moments=("cut",), joined=("dissolve", "wipe"))


def _timeline(text: str, holes: dict[int, float] | None = None) -> ScoreTimeline:
    """Return scores at 25 frames per second from one letter per frame: s(hot), c(ut),
    d(issolve), w(ipe), b(lack); a capital letter means .45, with the rest for the shot."""
    scores = np.full((len(text), 5), 0.01, np.float32)
    for row, letter in zip(scores, text, strict=True):
        row["scdwb".index(letter.lower())] = 0.96 if letter.islower() else 0.45
        if letter.isupper():
            row[0] = 0.52
    return ScoreTimeline(scores, token_times([0.04] * len(text), holes=holes), LABELS, False)


def _frames(segments: tuple[Segment, ...]) -> list[tuple[int, int, str]]:
    return [(round(s.start * 25), round(s.end * 25), s.label) for s in segments]


def _cut(text: str, **options: float) -> list[tuple[int, int, str]]:
    return _frames(to_events(_timeline(text), EVENTS, TimelineConfig(**options)))


def test_a_cut_begins_the_next_shot() -> None:
    assert _cut("ssssscssss") == [(0, 5, "shot"), (5, 10, "shot")]


def test_the_first_of_equal_neighbouring_peaks_is_kept() -> None:
    assert _cut("sssccsss") == [(0, 3, "shot"), (3, 8, "shot")]
    assert _cut("sssCcsss") == [(0, 4, "shot"), (4, 8, "shot")]
    assert _cut("ssscscss") == [(0, 3, "shot"), (3, 5, "shot"), (5, 8, "shot")]


def test_kinds_of_transition_are_detected_by_their_sum() -> None:
    assert _cut("sssddwdsss") == [(0, 3, "shot"), (3, 7, "dissolve"), (7, 10, "shot")]
    assert _cut("ssswssw" + "s" * 5) == [(0, 3, "shot"), (3, 7, "wipe"), (7, 12, "shot")]
    assert _cut("sssdddsss") == [(0, 9, "shot")], "shorter than four frames"


def test_cuts_within_a_transition_are_ignored() -> None:
    assert _cut("sssddddcss") == [(0, 3, "shot"), (3, 7, "dissolve"), (7, 10, "shot")]
    assert _cut("sssddcddss") == [(0, 3, "shot"), (3, 8, "dissolve"), (8, 10, "shot")]


def test_lasting_labels_change_without_a_moment() -> None:
    found = [(0, 5, "shot"), (5, 9, "black"), (9, 14, "shot")]
    assert _cut("sssssbbbbcssss") == found
    assert _cut("sssssbbbbsssss") == found
    assert _cut("sssssbbsssssss") == [(0, 14, "shot")], "black for two frames alone"


def test_the_token_of_a_moment_has_the_label_of_the_next_one() -> None:
    timeline = _timeline("sssssbssss")
    timeline.scores[5] = (0.0, 0.9, 0.0, 0.0, 0.1)
    assert _frames(to_events(timeline, EVENTS, TimelineConfig())) == [
        (0, 5, "shot"),
        (5, 10, "shot"),
    ]


def test_held_labels_last_until_the_next_event() -> None:
    events = EventsConfig(moments=("cut",), joined=("dissolve", "wipe"), held=("black",))

    def cut(text: str) -> list[tuple[int, int, str]]:
        return _frames(to_events(_timeline(text), events, TimelineConfig()))

    stopped = [(0, 6, "shot"), (6, 11, "black"), (11, 16, "shot")]
    assert cut("ssssssbbbbbcssss") == stopped
    assert cut("ssssssbbbbb") == stopped[:2], "the end of the video is an event"
    assert cut("ssssssbbbbbssssss") == [(0, 17, "shot")], "it moves on"
    assert cut("cbbbbbcssss") == [(0, 6, "shot"), (6, 11, "shot")], "still from the beginning"
    assert cut("bbbbbsssssbbbbbcssss") == [(0, 10, "shot"), (10, 15, "black"), (15, 20, "shot")]


def _steadied_plainly(labels: np.ndarray, steady: int) -> list[tuple[int, int]]:
    """Apply the definition of ``steadied`` to one run after the other."""
    found = [(int(label), len(list(group))) for label, group in groupby(labels.tolist())]
    while len(found) > 1:
        at = min(range(len(found)), key=lambda i: found[i][1])
        if found[at][1] >= steady:
            break
        near = [i for i in (at - 1, at + 1) if 0 <= i < len(found)]
        found[at] = (found[max(near, key=lambda i: found[i][1])][0], found[at][1])
        found = [
            (label, sum(count for _, count in group))
            for label, group in groupby(found, key=lambda stretch: stretch[0])
        ]
    return found


@pytest.mark.parametrize("seed", range(200))
def test_steadied_equals_its_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    count, kinds = int(random.integers(1, 80)), int(random.integers(1, 4))
    labels = np.repeat(random.integers(0, kinds, count), random.integers(1, 7, count))
    steady = int(random.integers(1, 9))
    assert steadied(labels, steady) == _steadied_plainly(labels, steady)


def test_hours_of_flicker_are_steadied_quickly() -> None:
    """The time must not be quadratic in the number of runs: that would be hours."""
    labels = np.random.default_rng(0).integers(0, 2, 500_000)
    assert sum(count for _, count in steadied(labels, 4)) == len(labels)


def test_background_is_no_label_of_a_shot() -> None:
    labels = ("background", "shot", "cut")
    scores = np.tile(np.array([0.6, 0.3, 0.1], np.float32), (8, 1))
    timeline = ScoreTimeline(scores, token_times([0.04] * 8), labels, False)
    found = to_events(timeline, EventsConfig(moments=("cut",)), TimelineConfig())
    assert _frames(found) == [(0, 8, "shot")]
    with pytest.raises(ConfigError, match="must be no event"):
        HeadConfig(dense_labels=("background", "cut"), events=EventsConfig(moments=("cut",)))


def test_short_runs_of_labels_are_merged() -> None:
    assert steadied(np.array([1, 1, 1, 2, 1, 1]), 2) == [(1, 6)]
    assert steadied(np.array([1, 1, 1, 2, 2, 3]), 2) == [(1, 3), (2, 3)]
    assert steadied(np.array([1, 2]), 5) == [(2, 2)]
    assert steadied(np.array([4]), 5) == [(4, 1)]


def test_the_threshold_option_replaces_all_thresholds() -> None:
    text = "sssCsssDDDDsss"
    assert len(_cut(text)) == 1
    found = [(0, 3, "shot"), (3, 7, "shot"), (7, 11, "dissolve"), (11, 14, "shot")]
    assert _cut(text, threshold=0.4) == found


def test_short_segments_are_merged() -> None:
    assert _cut("scsssssssscs", min_duration=0.12) == [(0, 12, "shot")]
    assert _cut("ssssscssbsss", min_duration=0.12) == [
        (0, 5, "shot"),
        (5, 12, "shot"),
    ]


def test_no_segment_crosses_a_gap() -> None:
    found = to_events(_timeline("ssssssss", holes={4: 1.0}), EVENTS, TimelineConfig())
    assert [(s.start, s.end) for s in found] == [
        (0, pytest.approx(0.16)),
        (pytest.approx(1.16), pytest.approx(1.32)),
    ]


@pytest.mark.parametrize("seed", range(60))
def test_random_scores_are_covered_once(seed: int) -> None:
    """Segments are disjoint, in order and complete except for gaps; scores are probabilities."""
    timeline = random_timeline(seed, background=False)
    labels = timeline.labels
    if len(labels) < 3:
        timeline = random_timeline(seed + 1000, background=False)
        labels = timeline.labels
    events = EventsConfig(moments=labels[1:2], joined=labels[2:4], joined_length=2)
    found = to_events(timeline, events, TimelineConfig())
    total = (timeline.times.end_seconds - timeline.times.start_seconds).sum()
    assert sum(s.end - s.start for s in found) == pytest.approx(total)
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(found))
    assert all(0 <= s.score <= 1 and s.end > s.start for s in found)
    assert not {s.label for s in found} & set(events.moments)


def test_maxima_and_ranges_are_found() -> None:
    scores = np.array([0.1, 0.9, 0.8, 0.1, 0.6, 0.7, 0.1], np.float32)
    assert local_maxima(scores, 0.5, 2).tolist() == [1, 5]
    assert local_maxima(scores, 0.75, 2).tolist() == [1]
    assert local_maxima(np.zeros(0, np.float32), 0.5, 2).tolist() == []
    assert stretches(scores, 0.5, 1, 0).tolist() == [[1, 3], [4, 6]]
    assert stretches(scores, 0.5, 1, 1).tolist() == [[1, 6]]
    assert stretches(scores, 0.5, 3, 0).tolist() == []


def test_invalid_event_configurations_are_refused() -> None:
    with pytest.raises(ConfigError, match="only one of moments"):
        EventsConfig(moments=("cut",), joined=("cut",))
    with pytest.raises(ConfigError, match="above 0"):
        EventsConfig(moment_threshold=0)
    with pytest.raises(ConfigError, match="'cup' is not among the dense labels"):
        HeadConfig(dense_labels=("shot", "cut"), events=EventsConfig(moments=("cup",)))
    with pytest.raises(ConfigError, match="must be no event"):
        HeadConfig(dense_labels=("cut",), events=EventsConfig(moments=("cut",)))
