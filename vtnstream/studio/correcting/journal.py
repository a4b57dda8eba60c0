"""The journal of corrections: every change is a row, and none is ever altered or removed.

The timeline of a result is its base, which is stored with the first change, and all changes after
it. Taking a change back is a change as well, so that the history stays whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vtnstream.report.terminal.glyphs import printable
from vtnstream.studio.correcting.timeline import Action, Edit, EditedSegment, Timeline, plan
from vtnstream.studio.database import Database
from vtnstream.studio.problems import InvalidProblem, StaleProblem


@dataclass(frozen=True, slots=True)
class Base:
    """A result as the model made it.

    Attributes:
        id: of the result.
        result: path of its file, relative to the workspace.
        input: the video as the result names it.
        segments: of the model.
        limit: seconds after which no segment may end.
    """

    id: str
    result: str
    input: str
    segments: tuple[EditedSegment, ...]
    limit: float

    def digest(self) -> str:
        """Digest of the segments, which tells whether the result was made again."""
        text = json.dumps([dataclasses.astuple(segment) for segment in self.segments])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class State:
    """The corrected timeline at one revision.

    Attributes:
        timeline: the segments.
        revision: number of changes so far.
        undo, redo: revisions that ``undo`` takes back and ``redo`` repeats; 0 without one.
        remade: the result file holds other segments than those that were corrected.
    """

    timeline: Timeline
    revision: int = 0
    undo: int = 0
    redo: int = 0
    remade: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of the history."""

    revision: int
    at: float
    author: str
    action: Action
    removed: tuple[EditedSegment, ...]
    added: tuple[EditedSegment, ...]


class Journal:
    """Reads and writes corrections.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def state(self, base: Base) -> State:
        """The corrected timeline of a result; that of the model if nothing was changed."""
        stored = self._database.row("SELECT * FROM documents WHERE id = ?", (base.id,))
        if stored is None:
            return State(Timeline.of(base.segments, base.limit))
        rows = self._database.rows(
            "SELECT * FROM changes WHERE id = ? AND revision <= ? ORDER BY revision",
            (base.id, stored["revision"]),
        )
        return _replayed(stored, rows, base)

    def change(self, base: Base, revision: int, action: Action, author: str) -> State:
        """Carry out an action; it is on the disk when this returns.

        Args:
            base: the result.
            revision: the revision that the person saw.
            action: what to change.
            author: person who made it.

        Raises:
            StaleProblem: the timeline is at another revision.
            InvalidProblem: the action does not fit the timeline.
            OutputError: the change cannot be written.
        """
        with self._database.transaction() as cursor:
            cursor.execute("SELECT * FROM documents WHERE id = ?", (base.id,))
            stored = cursor.fetchone()
            if stored is None:
                stored = _first(cursor, base)
            cursor.execute("SELECT * FROM changes WHERE id = ? ORDER BY revision", (base.id,))
            state = _replayed(stored, cursor.fetchall(), base)
            if revision != state.revision:
                raise StaleProblem(
                    f"this timeline was changed elsewhere: it is at revision {state.revision}, "
                    f"and the change was made for revision {revision}"
                )
            edit = self._edit(cursor, base.id, state, action)
            now = state.revision + 1
            cursor.execute(
                "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    base.id,
                    now,
                    time.time(),
                    author,
                    json.dumps(dataclasses.asdict(action)),
                    _segments_json(edit.removed),
                    _segments_json(edit.added),
                    edit.checked,
                ),
            )
            timeline = state.timeline.applied(edit)
            cursor.execute(
                "UPDATE documents SET revision = ?, checked = ? WHERE id = ?",
                (now, timeline.checked, base.id),
            )
            _describe(cursor, base.id, timeline)
        return self.state(base)

    @staticmethod
    def _edit(cursor: sqlite3.Cursor, name: str, state: State, action: Action) -> Edit:
        if action.kind not in ("undo", "redo"):
            return plan(state.timeline, action, f"p{state.revision + 1}")
        target = state.undo if action.kind == "undo" else state.redo
        if not target:
            raise InvalidProblem(f"there is nothing to {action.kind}")
        cursor.execute("SELECT * FROM changes WHERE id = ? AND revision = ?", (name, target))
        edit = _edit_of(cursor.fetchone())
        return edit.reversed(not edit.checked) if action.kind == "undo" else edit

    def history(self, name: str) -> list[Entry]:
        """All changes of a result, the oldest first."""
        rows = self._database.rows("SELECT * FROM changes WHERE id = ? ORDER BY revision", (name,))
        return [
            Entry(
                row["revision"],
                row["at"],
                row["author"],
                _action(row["action"]),
                _segments(row["removed"]),
                _segments(row["added"]),
            )
            for row in rows
        ]

    def corrected(self) -> list[str]:
        """Ids of the results that a person changed or checked."""
        rows = self._database.rows("SELECT id FROM documents WHERE revision > 0 ORDER BY result")
        return [row["id"] for row in rows]


def _first(cursor: sqlite3.Cursor, base: Base) -> sqlite3.Row:
    """Store the base with the first change."""
    content = json.dumps({"limit": base.limit, "segments": _segments_json(base.segments)})
    cursor.execute(
        "INSERT INTO documents VALUES (?, ?, ?, ?, ?, 0, 0)",
        (base.id, base.result, base.input, base.digest(), content),
    )
    cursor.execute("SELECT * FROM documents WHERE id = ?", (base.id,))
    row: sqlite3.Row = cursor.fetchone()
    return row


def _describe(cursor: sqlite3.Cursor, name: str, timeline: Timeline) -> None:
    """Keep what the library shows of a corrected timeline: it holds for every later scan."""
    seconds: dict[str, float] = {}
    for segment in timeline.segments.values():
        label = printable(segment.label)
        seconds[label] = seconds.get(label, 0.0) + segment.end - segment.start
    scores = [s.score for s in timeline.segments.values() if s.score is not None]
    mean = sum(scores) / len(scores) if scores else None
    cursor.execute("REPLACE INTO corrected VALUES (?, ?, ?)", (name, len(timeline.segments), mean))
    cursor.execute("DELETE FROM corrected_labels WHERE id = ?", (name,))
    cursor.executemany(
        "INSERT INTO corrected_labels VALUES (?, ?, ?)",
        [(name, label, length) for label, length in seconds.items()],
    )


def _replayed(stored: sqlite3.Row, rows: Iterable[sqlite3.Row], base: Base) -> State:
    content = json.loads(stored["base"])
    first = Timeline.of(_segments(content["segments"]), content["limit"])
    segments, checked = dict(first.segments), first.checked
    done: list[int] = []
    taken_back: list[int] = []
    revision = 0
    for row in rows:
        revision = row["revision"]
        edit = _edit_of(row)
        for segment in edit.removed:
            segments.pop(segment.id, None)
        segments.update({segment.id: segment for segment in edit.added})
        checked = checked if edit.checked is None else edit.checked
        match _action(row["action"]).kind:
            case "undo":
                taken_back.append(done.pop())
            case "redo":
                done.append(taken_back.pop())
            case _:
                done.append(revision)
                taken_back.clear()
    return State(
        dataclasses.replace(first, segments=segments, checked=checked),
        revision,
        undo=done[-1] if done else 0,
        redo=taken_back[-1] if taken_back else 0,
        remade=stored["digest"] != base.digest(),
    )


def _edit_of(row: sqlite3.Row) -> Edit:
    checked = None if row["checked"] is None else bool(row["checked"])
    return Edit(_segments(row["removed"]), _segments(row["added"]), checked)


def _segments_json(segments: Sequence[EditedSegment]) -> str:
    return json.dumps([dataclasses.astuple(segment) for segment in segments])


def _segments(text: str) -> tuple[EditedSegment, ...]:
    return tuple(EditedSegment(*values) for values in json.loads(text))


def _action(text: str) -> Action:
    values: dict[str, Any] = json.loads(text)
    return Action(**{**values, "ids": tuple(values["ids"])})
