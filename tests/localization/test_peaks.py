"""Segments of a search: peaks, half height, gaps and ranks."""

from __future__ import annotations

import numpy as np
import pytest

from tests.localization.cases import token_times
from vtnstream.config.search import SearchConfig
from vtnstream.localization.peaks import Evidence, evidence_of, find_segments, match_of
from vtnstream.types import TokenTimes

PLAIN = SearchConfig(smoothing_seconds=0)


def evidence(values: list[float], at: TokenTimes | None = None) -> Evidence:
    array = np.array(values, np.float32)
    return Evidence(array, array.copy(), at or token_times([1.0] * len(values)))


def test_matches_and_evidence_are_inverse() -> None:
    for match in (0.01, 0.5, 0.9):
        assert match_of(np.array([evidence_of(match)], np.float32))[0] == pytest.approx(match)
    assert match_of(np.array([0.0], np.float32))[0] == 0.5


def test_segments_end_at_half_height_and_the_best_is_first() -> None:
    values = [-4, -4, -4, 1, 2, 1, -4, -4, -4, -4, 6, 6, -4, -4, -4, -4]
    found = find_segments(evidence(values), "a", PLAIN)
    assert [(s.start, s.end, s.rank) for s in found] == [(10, 12, 1), (3, 6, 2)]
    assert found[0].score == pytest.approx(1 / (1 + np.exp(-6)), abs=1e-6)


def test_a_query_that_is_absent_finds_nothing() -> None:
    assert find_segments(evidence([-3, -0.5, -0.1, -2]), "a", PLAIN) == ()
    assert find_segments(evidence([]), "a", PLAIN) == ()


def test_the_number_of_segments_and_the_lowest_match_are_bounds() -> None:
    values = [-5, 3, -5, 2, -5, 1, -5, -5, -5]
    config = SearchConfig(smoothing_seconds=0, max_segments=2)
    assert [s.start for s in find_segments(evidence(values), "a", config)] == [1, 3]
    strict = SearchConfig(smoothing_seconds=0, min_score=0.9)
    assert [s.start for s in find_segments(evidence(values), "a", strict)] == [1]


def test_no_segment_crosses_a_gap() -> None:
    first = later = token_times([1.0] * 4)
    shifted = TokenTimes(
        later.indices + 10, later.pts, later.start_seconds + 10, later.end_seconds + 10
    )
    at = TokenTimes.concatenate([first, shifted])
    values = [-4, -4, 5, 5, 5, 5, -4, -4]
    for smoothing in (0.0, 3.0):
        config = SearchConfig(smoothing_seconds=smoothing)
        found = sorted((s.start, s.end) for s in find_segments(evidence(values, at), "a", config))
        assert found == [(2, 4), (10, 12)]


def test_a_match_over_the_whole_video_is_one_segment() -> None:
    found = find_segments(evidence([3, 3.5, 3, 3]), "a", PLAIN)
    assert [(s.start, s.end) for s in found] == [(0, 4)]


def test_a_peak_next_to_a_better_segment_gives_no_segment() -> None:
    found = find_segments(evidence([-6, -6, -6, -6, 9, 9, 2, 1, -6, -6]), "a", PLAIN)
    assert [(s.start, s.end) for s in found] == [(4, 7)]


def test_shorter_segments_are_dropped() -> None:
    values = [-5, 3, -5, -5, 2, 2, 2, -5, -5, -5, -5, -5]
    config = SearchConfig(smoothing_seconds=0, min_duration=2)
    assert [s.start for s in find_segments(evidence(values), "a", config)] == [4]
