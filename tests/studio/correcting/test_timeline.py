"""What each action does to a timeline, and what must hold after any of them."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hypothesis_profile import settings
from vtnstream.studio.correcting.timeline import (
    PERSON,
    Action,
    EditedSegment,
    Timeline,
    plan,
)
from vtnstream.studio.problems import InvalidProblem


def timeline(*spans: tuple[float, float, str], limit: float = 100.0) -> Timeline:
    segments = [EditedSegment(f"m{k}", *span, score=0.5) for k, span in enumerate(spans)]
    return Timeline.of(segments, limit)


def after(start: Timeline, action: Action) -> list[tuple[float, float, str, str]]:
    changed = start.applied(plan(start, action, "p1"))
    return [(s.start, s.end, s.label, s.by) for s in changed.ordered()]


THREE = timeline((0, 10, "a"), (10, 20, "b"), (30, 40, "c"))


def test_moving_a_bound_takes_the_neighbour_along() -> None:
    later = Action("move", ("m0",), end=15.0, neighbour=True)
    assert after(THREE, later)[:2] == [(0, 15, "a", "person"), (15, 20, "b", "model")]
    earlier = Action("move", ("m0",), end=5.0, neighbour=True)
    assert after(THREE, earlier)[:2] == [(0, 5, "a", "person"), (5, 20, "b", "model")]
    alone = Action("move", ("m0",), end=5.0)
    assert after(THREE, alone)[:2] == [(0, 5, "a", "person"), (10, 20, "b", "model")]
    start = Action("move", ("m1",), start=12.0, neighbour=True)
    assert after(THREE, start)[:2] == [(0, 12, "a", "model"), (12, 20, "b", "person")]


def test_a_segment_that_grows_over_others_replaces_them() -> None:
    found = after(THREE, Action("move", ("m0",), end=35.0))
    assert found == [(0, 35, "a", "person"), (35, 40, "c", "model")]


def test_moved_segments_have_no_score_of_the_model() -> None:
    changed = THREE.applied(plan(THREE, Action("move", ("m0",), end=15.0), "p1"))
    assert [s.score for s in changed.ordered()] == [None, None, 0.5]


def test_add_makes_room() -> None:
    found = after(THREE, Action("add", start=12.0, end=14.0, label=" new\u0301 "))
    assert found[1:4] == [
        (10, 12, "b", "model"),
        (12, 14, "neẃ", "person"),
        (14, 20, "b", "model"),
    ]


def test_a_neighbour_does_not_follow_a_segment_past_others() -> None:
    """It would cover what lies between."""
    tight = timeline((0, 1, "a"), (1, 2, "b"), (2, 3, "c"))
    found = after(tight, Action("move", ("m1",), start=3.0, end=4.0, neighbour=True))
    assert [span[:3] for span in found] == [(0, 1, "a"), (2, 3, "c"), (3, 4, "b")]
    found = after(tight, Action("move", ("m2",), start=0.0, end=1.0, neighbour=True))
    assert [span[:3] for span in found] == [(0, 1, "c"), (1, 2, "b")]


def test_overlapping_timelines_stay_overlapping() -> None:
    layered = timeline((0, 10, "a"), (5, 15, "b"))
    found = after(layered, Action("add", start=2.0, end=12.0, label="c"))
    assert [span[:3] for span in found] == [(0, 10, "a"), (2, 12, "c"), (5, 15, "b")]


def test_split_merge_delete_relabel_confirm() -> None:
    split = after(THREE, Action("split", ("m1",), at=12.5))
    assert split[1:3] == [(10, 12.5, "b", "model"), (12.5, 20, "b", "model")]
    merged = after(THREE, Action("merge", ("m0", "m2")))
    assert merged == [(0, 40, "a", "person")]
    assert after(THREE, Action("delete", ("m0", "m1"))) == [(30, 40, "c", "model")]
    named = after(THREE, Action("relabel", ("m0", "m1"), label="x"))
    assert [span[2:] for span in named] == [("x", "person"), ("x", "person"), ("c", "model")]
    sure = THREE.applied(plan(THREE, Action("confirm", ("m0",)), "p1")).ordered()[0]
    assert (sure.by, sure.score) == (PERSON, 0.5)


@pytest.mark.parametrize(
    "action",
    [
        Action("move", ("m0",), start=10.0),
        Action("move", ("m0",), start=float("nan")),
        Action("move", ("m0", "m1"), end=12.0),
        Action("move", ("m9",), end=12.0),
        Action("move", ("m0",)),
        Action("split", ("m0",), at=10.0),
        Action("split", ("m0",)),
        Action("merge", ("m0",)),
        Action("delete"),
        Action("relabel", ("m0",), label="  "),
        Action("relabel", ("m0",), label="x" * 201),
        Action("relabel", ("m0",), label="a\x1b[31m"),
        Action("relabel", ("m0",), label="\ud800"),
        Action("add", label="x"),
        Action("add", start=200.0, end=300.0, label="x"),
        Action("add", start=5.0, end=float("inf"), label="x"),
        Action("check", checked=False),
        Action("explode"),
    ],
)
def test_what_does_not_fit_is_refused(action: Action) -> None:
    with pytest.raises(InvalidProblem):
        plan(THREE, action, "p1")


spans = st.lists(st.floats(0.1, 9.0), min_size=2, max_size=8)
moments = st.floats(-5.0, 80.0)


@settings()
@given(
    spans,
    st.lists(
        st.tuples(
            st.sampled_from(["move", "add", "split", "merge"]), moments, moments, st.integers(0, 7)
        ),
        max_size=6,
    ),
)
def test_without_overlaps_there_never_is_one(
    lengths: list[float], steps: list[tuple[str, float, float, int]]
) -> None:
    edges = [0.0]
    for length in lengths:
        edges.append(edges[-1] + length)
    line = timeline(*((a, b, "x") for a, b in pairwise(edges)), limit=60.0)
    first = line
    edits = []
    for number, (kind, one, two, which) in enumerate(steps):
        ordered = line.ordered()
        name = ordered[which % len(ordered)].id if ordered else "none"
        other = ordered[(which + 1) % len(ordered)].id if ordered else "none"
        action = Action(
            kind,
            (name, other) if kind == "merge" else (name,),
            start=min(one, two),
            end=max(one, two),
            at=one,
            label="y",
            neighbour=bool(which % 2),
        )
        if kind == "move":
            action = dataclasses.replace(action, start=None if which % 3 else action.start)
        try:
            edit = plan(line, action, f"p{number}")
        except InvalidProblem:
            continue
        edits.append(edit)
        line = line.applied(edit)
        for before, behind in pairwise(line.ordered()):
            assert before.start < before.end <= behind.start + 1e-6
        assert all(0 <= s.start < s.end <= 60.0 for s in line.ordered())
    for edit in reversed(edits):
        line = line.applied(edit.reversed(False))
    assert line.segments == first.segments
