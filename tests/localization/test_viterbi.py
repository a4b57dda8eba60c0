from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.localization.cases import random_scores
from vtnstream.localization.viterbi import viterbi, viterbi_on_off
from vtnstream.types import FloatArray


def _worth(scores: FloatArray, path: tuple[int, ...], cost: float) -> float:
    gains = sum(np.log(float(scores[t, label])) for t, label in enumerate(path))
    return gains - cost * sum(a != b for a, b in itertools.pairwise(path))


@pytest.mark.parametrize("cost", [0.0, 0.3, 1.0, 4.0])
@pytest.mark.parametrize(("count", "num_labels"), [(1, 3), (7, 2), (6, 4), (9, 1)])
def test_viterbi_finds_the_best_of_all_paths(count: int, num_labels: int, cost: float) -> None:
    for seed in range(8):
        scores = random_scores(np.random.default_rng(seed), count, num_labels)
        best = max(
            _worth(scores, path, cost)
            for path in itertools.product(range(num_labels), repeat=count)
        )
        got = viterbi(scores, cost)
        assert _worth(scores, tuple(got.tolist()), cost) == pytest.approx(best, abs=1e-6)


def test_viterbi_with_more_labels_than_a_byte_and_several_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The result equals that of the recursion with a full transition matrix."""
    monkeypatch.setattr("vtnstream.localization.viterbi._BLOCK_NUMBERS", 100)
    scores = random_scores(np.random.default_rng(0), 300, 19)
    logs, cost = np.log(scores.astype(float)), 1.5
    step = -cost * (1 - np.eye(19))
    best, pointers = logs[0], []
    for row in logs[1:]:
        options = best[:, None] + step
        pointers.append(options.argmax(0))
        best = options.max(0) + row
    path = [int(best.argmax())]
    for pointer in reversed(pointers):
        path.append(int(pointer[path[-1]]))
    got = viterbi(scores, cost)
    assert got.tolist() == path[::-1]
    assert len(set(path)) > 5


def test_zero_cost_equals_argmax_and_a_huge_cost_never_switches() -> None:
    scores = random_scores(np.random.default_rng(5), 200, 6)
    np.testing.assert_array_equal(viterbi(scores, 0.0), scores.argmax(1))
    assert len(set(viterbi(scores, 1e9).tolist())) == 1
    assert len(set(viterbi(scores, float("inf")).tolist())) == 1


def test_zero_probabilities_and_empty_runs_are_decoded() -> None:
    assert viterbi(np.array([[0, 1], [1, 0]], np.float32), 1.0).tolist() == [1, 0]
    assert viterbi(np.empty((0, 3), np.float32), 1.0).tolist() == []
    assert viterbi_on_off(np.empty((0, 3), np.float32), 1.0).shape == (0, 3)


@pytest.mark.parametrize("cost", [0.0, 0.5, 2.0])
def test_on_off_viterbi_finds_the_best_of_all_paths_of_each_label(cost: float) -> None:
    for seed in range(8):
        scores = np.random.default_rng(seed).uniform(0.02, 0.98, (8, 10)).astype(np.float32)
        got = viterbi_on_off(scores, cost)
        for label in range(10):
            pair = np.stack([1 - scores[:, label], scores[:, label]], axis=1)
            best = max(_worth(pair, path, cost) for path in itertools.product((0, 1), repeat=8))
            path = tuple(got[:, label].astype(int).tolist())
            assert _worth(pair, path, cost) == pytest.approx(best, abs=1e-5)
