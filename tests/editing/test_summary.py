"""The choice of a summary is compared with trying all choices."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from vtnstream.config.summary import SummaryConfig
from vtnstream.editing.summary import Piece, choose, filled, joined, pieces_of
from vtnstream.errors import ConfigError
from vtnstream.types import Features, Segment, TokenTimes


def pieces(seed: int, count: int = 11) -> list[Piece]:
    random = np.random.default_rng(seed)
    edges = np.cumsum(random.uniform(1, 9, count + 1)).tolist()
    values = random.uniform(0, 1, (count, 3)).tolist()
    return [Piece(a, b, "x", *row) for a, b, row in zip(edges[:-1], edges[1:], values, strict=True)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("length", [5.0, 17.3, 40.0])
def test_the_choice_has_the_highest_value_that_fits(seed: int, length: float) -> None:
    offered, config = pieces(seed), SummaryConfig(length=length)
    chosen = choose(offered, config)
    worth = sum(p.worth(config.diversity) for p in chosen)
    best = max(
        sum(p.worth(config.diversity) for p in some)
        for size in range(len(offered) + 1)
        for some in combinations(offered, size)
        if sum(np.ceil((p.end - p.start) * 10) for p in some) <= round(length * 10)
    )
    assert worth == pytest.approx(best)
    assert sum(p.end - p.start for p in chosen) <= length
    assert [p.start for p in chosen] == sorted(p.start for p in chosen)


def features(count: int, seed: int = 0) -> Features:
    starts = np.arange(count, dtype=np.float64)
    values = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    return Features(values, TokenTimes(np.arange(count), np.arange(count), starts, starts + 1))


def test_pieces_follow_the_segments_and_cover_the_rest() -> None:
    segments = [Segment(10, 30, "a", 0.9), Segment(30, 33, "b", 0.6)]
    found = pieces_of(
        features(60), np.ones(60, np.float32), segments, (0.0, 60.0), SummaryConfig(piece=8)
    )
    labels = {p.label for p in found}
    assert labels == {"", "a", "b"}
    assert all(1 <= p.end - p.start <= 8 + 1e-9 for p in found)
    assert sum(p.attention for p in found) == pytest.approx(1)
    assert {p.start for p in found} >= {0.0, 10.0, 30.0, 33.0}
    assert next(p for p in found if p.label == "b").end == 33


def test_the_length_is_filled_and_black_left_out() -> None:
    segments = [Segment(0, 20, "shot", 0.9), Segment(20, 40, "black", 0.9)]
    config = SummaryConfig(length=17, piece=8)
    weights = np.ones(60, np.float32)
    offered = pieces_of(features(60), weights, segments, (0.0, 60.0), config, ("black",))
    assert all(piece.label != "black" for piece in offered)
    chosen = choose(offered, config)
    found = filled(offered, chosen, config)
    assert sum(p.end - p.start for p in chosen) < 16
    assert sum(p.end - p.start for p in found) == pytest.approx(17)
    assert all(a.end <= b.start for a, b in pairwise(found))


def test_pieces_with_attention_are_kept() -> None:
    weights = np.full(60, 0.001, np.float32)
    weights[40:45] = 1
    config = SummaryConfig(length=6, piece=5, diversity=0)
    chosen = choose(pieces_of(features(60), weights, [], (0.0, 60.0), config), config)
    assert [(p.start, p.end) for p in chosen] == [(40.0, 45.0)]


def test_diversity_prefers_dissimilar_pieces() -> None:
    alike = features(60)
    alike.values[:] = 0
    alike.values[:, 0] = 1
    alike.values[50:55] = np.eye(8)[3]
    weights = np.ones(60, np.float32)
    config = SummaryConfig(length=5, piece=5, diversity=1)
    (kept,) = choose(pieces_of(alike, weights, [], (0.0, 60.0), config), config)
    assert (kept.start, kept.end) == (50.0, 55.0)


def test_adjacent_pieces_are_joined() -> None:
    got = joined([Piece(0, 2, "a", 1, 0.5), Piece(2, 4, "a", 1, 1.0), Piece(4, 5, "b", 1, 1.0)])
    assert got == [Segment(0, 4, "a", 0.75), Segment(4, 5, "b", 1.0)]


@pytest.mark.parametrize(
    "wrong", [{"length": 0}, {"piece": 0.5}, {"diversity": 2}, {"shortest": float("nan")}]
)
def test_invalid_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SummaryConfig(**wrong)
