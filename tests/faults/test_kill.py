"""Killed at any point, the same command again ends as if nothing had been: the same bytes, at
most one chunk computed twice."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.faults.conftest import Some
from tests.faults.interposer import disk_operations
from tests.faults.tally import Cases
from tests.faults.work import CHUNK, IN_HAND, KINDS, TOKENS, Place, Work

SOME, ALL = 20, 200


def assert_resumes(place: Place, encoded: int) -> None:
    """Run the command of ``place`` again after a kill before which ``encoded`` frames went
    through the backbone."""
    published = len(place.chunks())
    again = place.run()
    assert (again.code, again.errors) == (0, []), again
    place.assert_whole()
    redone = encoded + place.frames_encoded() - TOKENS
    assert redone <= CHUNK + IN_HAND
    assert place.frames_encoded() <= max(0, TOKENS - CHUNK * published), "a stored chunk is redone"


def points(work: Work) -> Iterator[tuple[str, int, str]]:
    """Every place at which a run of either command can be struck."""
    for kind in KINDS:
        for number, operation in enumerate(disk_operations(work.whole(kind)[1])):
            yield kind, number, operation.name


def kill_at(work: Work, kind: str, number: int) -> None:
    with work.place(kind) as place:
        killed = place.run(at=number)
        assert killed.was_killed, killed
        assert_resumes(place, place.frames_encoded())


def test_killed_at_any_point(work: Work, cases: Cases, some: Some) -> None:
    """In both commands, torn writes included."""
    for kind, number, name in some(points(work), SOME):
        with cases("killed at a write, rename or fsync", f"{kind} {number} ({name})"):
            kill_at(work, kind, number)


def kill_after(work: Work, kind: str, seconds: float) -> None:
    with work.place(kind) as place:
        place.run(seconds=seconds)
        assert_resumes(place, place.frames_encoded())


@pytest.mark.slow
def test_killed_at_random_times(work: Work, cases: Cases) -> None:
    times = random.Random(0)
    for number in range(max(40, ALL - len(list(points(work))))):
        kind, seconds = KINDS[number % 2], times.uniform(0.02, 0.6)
        with cases("killed at a random time", f"{kind} after {seconds:.3f} s"):
            kill_after(work, kind, seconds)


@pytest.mark.slow
def test_killed_again_and_again(work: Work, cases: Cases) -> None:
    """Every run is killed a little later than the one before."""
    for kind in KINDS:
        with cases("killed again and again", kind), work.place(kind) as place:
            kills = 0
            while place.run(at=15 + 2 * kills).was_killed:
                kills += 1
            assert kills >= 4
            assert_resumes(place, TOKENS)
