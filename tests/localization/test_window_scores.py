from __future__ import annotations

import numpy as np
import pytest

from tests.localization.cases import random_scores, token_times
from vtnstream.errors import UsageError
from vtnstream.localization.window_scores import (
    SlidingScores,
    combine,
    triangular_weights,
    window_starts,
)
from vtnstream.types import ScoreTimeline


@pytest.mark.parametrize(
    ("num_tokens", "window", "stride", "starts"),
    [
        (0, 4, 2, []),
        (1, 4, 2, [0]),
        (4, 4, 2, [0]),
        (5, 4, 2, [0, 1]),  # the last window is shifted back, not padded
        (8, 4, 2, [0, 2, 4]),
        (9, 4, 4, [0, 4, 5]),
        (10, 1, 1, list(range(10))),
    ],
)
def test_window_starts(num_tokens: int, window: int, stride: int, starts: list[int]) -> None:
    assert window_starts(num_tokens, window, stride) == starts


def test_every_token_lies_in_a_window() -> None:
    for num_tokens in range(1, 40):
        for window in range(1, 12):
            for stride in range(1, window + 1):
                starts = window_starts(num_tokens, window, stride)
                length = min(window, num_tokens)
                covered = {t for s in starts for t in range(s, s + length)}
                assert covered == set(range(num_tokens))
                assert starts == sorted(set(starts))


@pytest.mark.parametrize(("window", "stride"), [(4, 5), (0, 1), (4, 0)])
def test_windows_that_skip_tokens_are_refused(window: int, stride: int) -> None:
    with pytest.raises(UsageError, match="stride"):
        window_starts(100, window, stride)


def test_triangular_weights() -> None:
    assert triangular_weights(5).tolist() == [1, 2, 3, 2, 1]
    assert triangular_weights(4).tolist() == [1, 2, 2, 1]
    assert triangular_weights(1).tolist() == [1]


@pytest.mark.parametrize(("num_tokens", "window", "stride"), [(23, 8, 3), (5, 8, 4), (64, 7, 7)])
def test_sliding_scores_equal_the_direct_formula(num_tokens: int, window: int, stride: int) -> None:
    rng = np.random.default_rng(1)
    starts = window_starts(num_tokens, window, stride)
    answers = {start: random_scores(rng, 1, 3)[0] for start in starts}
    sliding = SlidingScores(num_tokens, 3, window)
    for start in starts:
        sliding.add(start, answers[start])
    got = sliding.result()
    assert got.dtype == np.float32

    length = min(window, num_tokens)
    for token in range(num_tokens):
        total, weights = np.zeros(3), 0.0
        for start in starts:
            if start <= token < start + length:
                # Distance to the nearer end of the window, counted from 1.
                weight = min(token - start + 1, start + length - token)
                total += weight * answers[start].astype(float)
                weights += weight
        np.testing.assert_allclose(got[token], total / weights, rtol=1e-5)


def test_sliding_scores_refuse_invalid_calls() -> None:
    sliding = SlidingScores(10, 2, 4)
    with pytest.raises(ValueError, match="leaves 10 tokens"):
        sliding.add(7, np.ones(2, np.float32))
    sliding.add(0, np.ones(2, np.float32))
    with pytest.raises(ValueError, match="token 4 lies in no window"):
        sliding.result()
    for start in (4, 6):
        sliding.add(start, np.ones(2, np.float32))
    sliding.result()
    with pytest.raises(ValueError, match="read already"):
        sliding.result()


def _timeline(scores: list[list[float]], labels: str, multi_label: bool = False) -> ScoreTimeline:
    return ScoreTimeline(
        np.array(scores, np.float32), token_times([1.0] * len(scores)), tuple(labels), multi_label
    )


def test_combine_is_the_mean_of_log_probabilities() -> None:
    a = _timeline([[0.8, 0.2], [0.5, 0.5]], "xy")
    b = _timeline([[0.1, 0.9], [0.3, 0.7]], "yx")  # the same labels in another order
    got = combine(a, b)
    for row, left, right in zip(got.scores, a.scores, b.scores[:, ::-1], strict=True):
        logs = (np.log(left.astype(float)) + np.log(right.astype(float))) / 2
        np.testing.assert_allclose(row, np.exp(logs) / np.exp(logs).sum(), rtol=1e-5)
    assert (got.labels, got.track) == (("x", "y"), "combined")


def test_combine_in_place_and_with_certain_scores() -> None:
    a = _timeline([[1.0, 0.0]], "xy")
    expected = combine(a, _timeline([[0.0, 1.0]], "xy")).scores
    np.testing.assert_allclose(expected, [[0.5, 0.5]])
    got = combine(a, _timeline([[0.0, 1.0]], "xy"), out=a.scores)
    assert got.scores is a.scores
    np.testing.assert_array_equal(got.scores, expected)


def test_combine_of_multi_label_scores_averages_log_odds() -> None:
    a, b = _timeline([[0.9, 0.5]], "xy", True), _timeline([[0.2, 0.5]], "xy", True)
    odds = (np.log(0.9 / 0.1) + np.log(0.2 / 0.8)) / 2
    np.testing.assert_allclose(combine(a, b).scores[0], [1 / (1 + np.exp(-odds)), 0.5], rtol=1e-5)


def test_combine_refuses_timelines_that_differ() -> None:
    a = _timeline([[0.9, 0.1]], "xy")
    with pytest.raises(ValueError, match="same labels"):
        combine(a, _timeline([[0.9, 0.1]], "xz"))
    with pytest.raises(ValueError, match="same labels"):
        combine(a, _timeline([[0.9, 0.1]], "xy", True))
    with pytest.raises(ValueError, match="same tokens"):
        combine(a, _timeline([[0.9, 0.1]] * 2, "xy"))
