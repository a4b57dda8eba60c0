from __future__ import annotations

import numpy as np
import pytest

from tests.localization.cases import random_scores, random_timeline, token_times
from vtnstream.errors import UsageError
from vtnstream.localization import smoothing
from vtnstream.localization.runs import gap_free_runs
from vtnstream.localization.smoothing import SMOOTHERS, smooth
from vtnstream.types import FloatArray, ScoreTimeline


def _reflected(scores: FloatArray, i: int, reach: int) -> FloatArray:
    """Return the tokens i - reach .. i + reach, reflected at the ends."""
    count, rows = len(scores), []
    for j in range(i - reach, i + reach + 1):
        while not 0 <= j < count:
            j = -1 - j if j < 0 else 2 * count - 1 - j
        rows.append(scores[j])
    return np.array(rows)


@pytest.mark.parametrize("size", [2, 3, 5, 11, 13])
@pytest.mark.parametrize("count", [1, 2, 4, 50])
@pytest.mark.parametrize("name", sorted(SMOOTHERS))
def test_smoothers_equal_their_definition(
    name: str, count: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoothing, "_BLOCK_NUMBERS", 64)  # several blocks
    scores = random_scores(np.random.default_rng(size), count, 4)
    got = np.empty_like(scores)
    SMOOTHERS[name](scores, size, got)
    reach = size // 2
    for i in range(count):
        window = _reflected(scores, i, reach)
        if name == "median":
            expected = np.median(window, axis=0)
        else:
            weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (size / 4)) ** 2)
            expected = (weights[:, None] * window).sum(0) / weights.sum()
        np.testing.assert_allclose(got[i], expected, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(SMOOTHERS))
def test_smoothing_stays_within_runs_and_keeps_rows_normalised(name: str) -> None:
    for seed in range(20):
        timeline = random_timeline(seed)
        got = smooth(timeline, name, 5)
        np.testing.assert_allclose(got.scores.sum(1), 1, rtol=1e-5)
        for part in gap_free_runs(timeline.times):
            alone = smooth(
                ScoreTimeline(timeline.scores[part], timeline.times[part], timeline.labels),
                name,
                5,
            )
            np.testing.assert_allclose(got.scores[part], alone.scores, rtol=1e-6)


def test_rows_that_a_median_makes_zero_keep_their_scores() -> None:
    scores = np.eye(3, dtype=np.float32)
    timeline = ScoreTimeline(scores, token_times([1.0] * 3), ("a", "b", "c"))
    assert smooth(timeline, "median", 3).scores[1].tolist() == [0, 1, 0]


def test_none_is_the_timeline_itself_and_the_input_is_not_changed() -> None:
    timeline = random_timeline(3)
    before = timeline.scores.copy()
    assert smooth(timeline, "none", 5) is timeline
    smooth(timeline, "median", 5)
    np.testing.assert_array_equal(timeline.scores, before)
    with pytest.raises(UsageError, match="did you mean 'median'"):
        smooth(timeline, "medain", 5)
