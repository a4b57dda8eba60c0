"""Corrected timelines and the actions that change them.

An action is turned into an :class:`Edit`: the segments it removes and those it adds. Nothing here
reads or writes files.
"""

from __future__ import annotations

import dataclasses
import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from vtnstream.labels import normal_form
from vtnstream.studio.problems import InvalidProblem

MODEL, PERSON = "model", "person"
"""Who named a segment."""

KINDS = (
    "move",
    "relabel",
    "confirm",
    "add",
    "split",
    "merge",
    "delete",
    "check",
    "undo",
    "redo",
)
MAX_LABEL = 200
MAX_SEGMENTS = 100_000
_DIGITS = 6
_TOUCH = 1e-6


@dataclass(frozen=True, slots=True)
class EditedSegment:
    """A segment ``[start, end)`` in seconds of the video.

    Attributes:
        id: name within its timeline; never used again after the segment is gone.
        by: ``model`` or ``person``: who chose the label.
        score: the model's score; None where a person decided, or its bounds were moved.
        track: ``dense`` or ``sliding`` if the result has both.
    """

    id: str
    start: float
    end: float
    label: str
    by: str = MODEL
    score: float | None = None
    track: str | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """One change that a person asks for.

    Attributes:
        kind: one of :data:`KINDS`.
        ids: segments it concerns (``move`` and ``split`` take one, ``merge`` two or more).
        start, end: new bounds in seconds for ``move`` (None keeps one) and ``add``.
        at: second at which ``split`` cuts.
        label: new label for ``relabel``, ``add`` and, if given, ``merge``.
        neighbour: ``move`` also moves the bound of a neighbour that touches the moved bound.
        checked: for ``check``: whether the whole timeline was looked through.
    """

    kind: str
    ids: tuple[str, ...] = ()
    start: float | None = None
    end: float | None = None
    at: float | None = None
    label: str | None = None
    neighbour: bool = False
    checked: bool | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """What an action does to a timeline."""

    removed: tuple[EditedSegment, ...] = ()
    added: tuple[EditedSegment, ...] = ()
    checked: bool | None = None

    def reversed(self, before: bool) -> Edit:
        """The edit that takes this one back; ``before`` is ``checked`` as it was."""
        return Edit(self.added, self.removed, None if self.checked is None else before)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The segments of one result as they are now.

    Attributes:
        segments: id -> segment.
        limit: seconds after which no segment may end.
        exclusive: tracks in which segments may not overlap.
        checked: whether a person has looked through all of it.
    """

    segments: Mapping[str, EditedSegment]
    limit: float
    exclusive: frozenset[str | None] = field(default_factory=frozenset)
    checked: bool = False

    @classmethod
    def of(cls, segments: Iterable[EditedSegment], limit: float) -> Timeline:
        """A timeline from a model; tracks without overlaps keep that property."""
        found = {segment.id: segment for segment in segments}
        tracks = {segment.track for segment in found.values()} or {None}
        exclusive = frozenset(track for track in tracks if not _overlaps(found.values(), track))
        return cls(found, limit, exclusive)

    def ordered(self) -> tuple[EditedSegment, ...]:
        """The segments by time."""
        return tuple(sorted(self.segments.values(), key=lambda s: (s.start, s.end, s.id)))

    def applied(self, edit: Edit) -> Timeline:
        """The timeline after an edit."""
        segments = dict(self.segments)
        for segment in edit.removed:
            segments.pop(segment.id, None)
        segments.update({segment.id: segment for segment in edit.added})
        checked = self.checked if edit.checked is None else edit.checked
        return dataclasses.replace(self, segments=segments, checked=checked)

    def get(self, name: str) -> EditedSegment:
        """A segment by its id.

        Raises:
            InvalidProblem: there is none.
        """
        if name not in self.segments:
            raise InvalidProblem(
                f"there is no segment {name[:40]!r}: a corrected segment has a new id, which the "
                "answer to the correction names"
            )
        return self.segments[name]


def plan(timeline: Timeline, action: Action, prefix: str) -> Edit:
    """What an action does.

    Args:
        timeline: the segments as they are.
        action: any kind but ``undo`` and ``redo``.
        prefix: beginning of the ids of new segments.

    Raises:
        InvalidProblem: the action does not fit the timeline.
    """
    planner = _PLANNERS.get(action.kind)
    if planner is None:
        raise InvalidProblem(f"no action {action.kind[:40]!r}: there are {', '.join(KINDS)}")
    edit = planner(timeline, action)
    if len(timeline.segments) + len(edit.added) > MAX_SEGMENTS:
        raise InvalidProblem(f"a timeline holds at most {MAX_SEGMENTS:,} segments")
    named = tuple(
        dataclasses.replace(segment, id=f"{prefix}.{number}")
        for number, segment in enumerate(edit.added)
    )
    return dataclasses.replace(edit, added=named)


def _move(timeline: Timeline, action: Action) -> Edit:
    old = _single(timeline, action)
    new = dataclasses.replace(
        _bounded(timeline, old, action.start, action.end), by=PERSON, score=None
    )
    if (new.start, new.end) == (old.start, old.end):
        raise InvalidProblem("the bounds are the same as before")
    removed, added = _room_for(timeline, new, {old.id})
    if action.neighbour:
        for segment in timeline.segments.values():
            moved = _following(segment, old, new)
            if moved is not None and segment.id not in {s.id for s in removed}:
                removed, added = (*removed, segment), (*added, moved)
    return Edit((old, *removed), (new, *added))


def _following(
    segment: EditedSegment, old: EditedSegment, new: EditedSegment
) -> EditedSegment | None:
    """A neighbour whose bound goes along, so that no hole opens.

    None goes along if the new place lies beyond the old one: the hole may hold other segments.
    """
    if segment.id == old.id or segment.track != old.track:
        return None
    if abs(segment.start - old.end) < _TOUCH and old.start <= new.end < old.end:
        return dataclasses.replace(segment, start=new.end, score=None)
    if abs(segment.end - old.start) < _TOUCH and old.start < new.start <= old.end:
        return dataclasses.replace(segment, end=new.start, score=None)
    return None


def _relabel(timeline: Timeline, action: Action) -> Edit:
    label = clean_label(action.label)
    old = _several(timeline, action)
    new = tuple(dataclasses.replace(s, label=label, by=PERSON, score=None) for s in old)
    return Edit(old, new)


def _confirm(timeline: Timeline, action: Action) -> Edit:
    old = tuple(s for s in _several(timeline, action) if s.by != PERSON)
    if not old:
        raise InvalidProblem("a person has confirmed these segments already")
    return Edit(old, tuple(dataclasses.replace(s, by=PERSON) for s in old))


def _add(timeline: Timeline, action: Action) -> Edit:
    if action.start is None or action.end is None:
        raise InvalidProblem("add: start and end are needed")
    track = (
        None if None in timeline.exclusive else min(filter(None, timeline.exclusive), default=None)
    )
    draft = EditedSegment("", 0.0, timeline.limit, clean_label(action.label), PERSON, None, track)
    new = _bounded(timeline, draft, action.start, action.end)
    removed, added = _room_for(timeline, new, set())
    return Edit(removed, (new, *added))


def _split(timeline: Timeline, action: Action) -> Edit:
    old = _single(timeline, action)
    at = _time(action.at, "at")
    if not old.start + _TOUCH < at < old.end - _TOUCH:
        raise InvalidProblem(f"split: {at:g} s does not lie inside the segment")
    first = dataclasses.replace(old, end=at, score=None)
    second = dataclasses.replace(old, start=at, score=None)
    return Edit((old,), (first, second))


def _merge(timeline: Timeline, action: Action) -> Edit:
    old = sorted(_several(timeline, action), key=lambda s: s.start)
    if len(old) < 2:
        raise InvalidProblem("merge: name at least two segments")
    longest = max(old, key=lambda s: s.end - s.start)
    label = longest.label if action.label is None else clean_label(action.label)
    end = max(s.end for s in old)
    new = EditedSegment("", old[0].start, end, label, PERSON, None, old[0].track)
    removed, added = _room_for(timeline, new, {s.id for s in old})
    return Edit((*old, *removed), (new, *added))


def _delete(timeline: Timeline, action: Action) -> Edit:
    return Edit(removed=_several(timeline, action))


def _check(timeline: Timeline, action: Action) -> Edit:
    if action.checked is None or action.checked == timeline.checked:
        raise InvalidProblem("check: say checked true or false, other than it is")
    return Edit(checked=action.checked)


_PLANNERS = {
    "move": _move,
    "relabel": _relabel,
    "confirm": _confirm,
    "add": _add,
    "split": _split,
    "merge": _merge,
    "delete": _delete,
    "check": _check,
}


def clean_label(label: str | None) -> str:
    """A label in Unicode NFC without blanks around it.

    Raises:
        InvalidProblem: it is empty, too long, or holds control characters.
    """
    text = normal_form((label or "").strip())
    if not text:
        raise InvalidProblem("the label is empty")
    if len(text) > MAX_LABEL:
        raise InvalidProblem(f"the label is longer than {MAX_LABEL} characters")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
        raise InvalidProblem("the label holds control characters")
    return text


def _single(timeline: Timeline, action: Action) -> EditedSegment:
    if len(action.ids) != 1:
        raise InvalidProblem(f"{action.kind}: name one segment")
    return timeline.get(action.ids[0])


def _several(timeline: Timeline, action: Action) -> tuple[EditedSegment, ...]:
    if not action.ids:
        raise InvalidProblem(f"{action.kind}: name a segment")
    return tuple(timeline.get(name) for name in dict.fromkeys(action.ids))


def _time(value: float | None, name: str) -> float:
    if value is None or not math.isfinite(value):
        raise InvalidProblem(f"{name} must be a time in seconds")
    return round(value, _DIGITS)


def _bounded(
    timeline: Timeline, segment: EditedSegment, start: float | None, end: float | None
) -> EditedSegment:
    """The segment with new bounds, cut to the video."""
    first = segment.start if start is None else max(0.0, _time(start, "start"))
    last = segment.end if end is None else min(timeline.limit, _time(end, "end"))
    if last - first < _TOUCH:
        raise InvalidProblem(f"a segment must end after its start, not {first:g} to {last:g} s")
    return dataclasses.replace(segment, start=first, end=last)


def _room_for(
    timeline: Timeline, new: EditedSegment, leave: set[str]
) -> tuple[tuple[EditedSegment, ...], tuple[EditedSegment, ...]]:
    """Cut a segment's time out of the others of its track, where these exclude each other.

    Returns:
        segments that are removed, and what is left of them.
    """
    if new.track not in timeline.exclusive:
        return (), ()
    removed: list[EditedSegment] = []
    added: list[EditedSegment] = []
    for other in timeline.ordered():
        apart = other.end <= new.start or other.start >= new.end
        if apart or other.id in leave or other.track != new.track:
            continue
        removed.append(other)
        if new.start - other.start >= _TOUCH:
            added.append(dataclasses.replace(other, end=new.start, score=None))
        if other.end - new.end >= _TOUCH:
            added.append(dataclasses.replace(other, start=new.end, score=None))
    return tuple(removed), tuple(added)


def _overlaps(segments: Iterable[EditedSegment], track: str | None) -> bool:
    mine = sorted((s.start, s.end) for s in segments if s.track == track)
    return any(after[0] < before[1] - _TOUCH for before, after in pairwise(mine))
