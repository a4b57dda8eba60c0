"""Shots of a minimum length."""

from __future__ import annotations

import numpy as np
import pytest

from vtnstream.localization.shot_length import Stretch, merge_short

SHOT, BLACK, DISSOLVE = 0, 1, 2


def _stretches(text: str) -> list[Stretch]:
    """Return shots and transitions from text such as ``s5 s2 d3``: labels and lengths."""
    found, at = [], 0
    for word in text.split():
        length = int(word[1:])
        label = "sbd".index(word[0])
        found.append(Stretch(at, at + length, label, label == DISSOLVE))
        at += length
    return found


def _merged(text: str, least: float) -> str:
    found = merge_short(_stretches(text), least, lambda first, stop: float(stop - first))
    return " ".join(f"{'sbd'[s.label]}{s.stop - s.first}" for s in found)


def test_short_shots_merge_across_a_cut() -> None:
    assert _merged("s5 s2 s6", 3) == "s7 s6"
    assert _merged("s2 s6", 3) == "s8"
    assert _merged("s5 s2", 3) == "s7"
    assert _merged("s9 b2 s9", 3) == "s11 s9"
    assert _merged("s5 s2 s6", 0) == "s5 s2 s6"


def test_shots_do_not_become_longer_than_necessary() -> None:
    assert _merged("s7 s2 s2 s2 s2 s2 s2 s8", 6) == "s7 s12 s8"
    assert _merged(" ".join(["s2"] * 40), 6) == " ".join(["s8"] * 10)
    assert _merged("s9 d2 s1 d2 s5", 3) == "s9 d2 s8"
    assert _merged("d2 s1 d2 s9", 3) == "d2 s12"


def test_many_short_shots_take_no_quadratic_time() -> None:
    merged = _merged(" ".join(["s1"] * 50_000), 7).split()
    assert min(int(word[1:]) for word in merged) >= 7
    assert max(int(word[1:]) for word in merged) <= 14


def test_transitions_keep_their_length() -> None:
    assert _merged("s9 d2 s9", 3) == "s9 d2 s9"
    assert _merged("s9 d2 s1 s9", 3) == "s9 d2 s10"
    assert _merged("s9 d2 s1 d2 s9", 3) == "s12 d2 s9", "the short shot goes with one of them"
    assert _merged("s1 d2 s9", 3) == "s12"
    assert _merged("d2 s1", 3) == "s3"
    assert _merged("s1", 3) == "s1"
    assert _merged("d1", 3) == "d1"


@pytest.mark.parametrize("seed", range(50))
def test_remaining_shots_are_long_enough_and_cover_the_run(seed: int) -> None:
    random = np.random.default_rng(seed)
    words, before = [], "d"
    for _ in range(int(random.integers(1, 30))):
        kind = "s" if before == "d" else str(random.choice(["s", "b", "d"]))
        words.append(f"{kind}{random.integers(1, 12)}")
        before = kind
    least = float(random.integers(1, 12))
    stretches = _stretches(" ".join(words))
    found = merge_short(stretches, least, lambda first, stop: float(stop - first))
    assert [s.stop for s in found[:-1]] == [s.first for s in found[1:]]
    assert (found[0].first, found[-1].stop) == (0, stretches[-1].stop)
    shots = [s for s in found if not s.transition]
    assert all(s.stop - s.first >= least for s in shots) or len(found) == 1
    assert {s.first for s in found} <= {s.first for s in stretches}
