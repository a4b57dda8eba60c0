"""Numbers of shots, the scores by which cuts were judged, and options of windows."""

from __future__ import annotations

import numpy as np
import pytest

from vtnstream.config import EventsConfig, TimelineConfig
from vtnstream.config.shipped import bundled_model
from vtnstream.errors import UsageError
from vtnstream.localization.edit_style import SHOTS_TRACK, STYLE_TRACK, with_shot_numbers
from vtnstream.localization.view_changes import measure
from vtnstream.models.io.checkpoint import read_config
from vtnstream.scoring.frame_scores import MEASURED, frame_scores
from vtnstream.scoring.localization_plan import LocalizationPlan
from vtnstream.types import ScoreTimeline, Segment, TokenTimes

LABELS = ("cut", "dissolve", "shot")
EVENTS = EventsConfig(moments=("cut",), joined=("dissolve",))


def test_shots_alone_are_numbered_in_order_of_time() -> None:
    segments = [
        Segment(4, 6, "shot", 0.9, SHOTS_TRACK),
        Segment(0, 3, "shot", 0.9, SHOTS_TRACK),
        Segment(3, 4, "dissolve", 0.9, SHOTS_TRACK),
        Segment(0, 6, "shot", 0.9, STYLE_TRACK),
    ]
    found = with_shot_numbers(segments)
    assert [segment.shot for segment in found] == [2, 1, None, None]
    assert [segment.name for segment in found] == ["shot 2", "shot 1", "dissolve", "shot"]
    assert with_shot_numbers(found[1:])[0].shot == 1, "numbers are those of the segments given"


def _timeline(count: int) -> ScoreTimeline:
    places = np.arange(count)
    indices = places + 5 * (places >= 6)  # a gap after six tokens
    starts = indices / 25
    scores = np.random.default_rng(0).dirichlet(np.ones(3), count).astype(np.float32)
    return ScoreTimeline(scores, TokenTimes(indices, indices, starts, starts + 1 / 25), LABELS)


def test_scores_of_frames_have_those_of_labels_and_the_measured_changes() -> None:
    timeline = _timeline(20)
    thumbnails = np.random.default_rng(1).uniform(0, 255, (20, 3 * 8 * 12)).astype(np.float32)
    starts = timeline.times.start_seconds
    changes = [
        measure([thumbnails[part]], starts[part], (8, 12)) for part in (slice(6), slice(6, 20))
    ]
    found = frame_scores([timeline], EVENTS, changes)
    assert found.columns[:5] == (
        *("score_cut", "score_dissolve", "score_shot"),
        *("cut_confidence", "transition_score"),
    )
    assert found.columns[5:] == MEASURED
    np.testing.assert_array_equal(found.values[:, :3], timeline.scores)
    np.testing.assert_array_equal(found.values[:, 3], timeline.scores[:, 0])
    np.testing.assert_array_equal(found.values[:, 4], timeline.scores[:, 1])
    whole = np.concatenate([run.change for run in changes])
    np.testing.assert_array_equal(found.values[:, 5], whole)


def test_tracks_have_columns_of_their_own() -> None:
    timeline = _timeline(4)
    found = frame_scores([timeline, timeline])
    assert found.columns[0] == "score_cut_dense" and len(found.columns) == 6


@pytest.mark.parametrize(
    ("options", "way"),
    [
        (TimelineConfig(stride=8), "--window N"),
        (TimelineConfig(window=64, localize="dense"), "--localize both"),
    ],
)
def test_windows_without_effect_are_refused(options: TimelineConfig, way: str) -> None:
    with pytest.raises(UsageError, match=way):
        LocalizationPlan.of(read_config(bundled_model()), options)
