"""The journal of corrections: history, undo, stale revisions, and killed processes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vtnstream.errors import OutputError
from vtnstream.studio.correcting.journal import Base, Journal
from vtnstream.studio.correcting.timeline import Action, EditedSegment
from vtnstream.studio.database import Database
from vtnstream.studio.problems import InvalidProblem, StaleProblem

BASE = Base(
    "abc",
    "a.json",
    "a.mp4",
    tuple(EditedSegment(f"m{k}", k, k + 1.0, f"label {k % 3}", score=0.5) for k in range(50)),
    50.0,
)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path)


def labels(journal: Journal) -> list[str]:
    return [segment.label for segment in journal.state(BASE).timeline.ordered()]


def test_undo_and_redo_as_far_as_there_is_something(database: Database) -> None:
    journal = Journal(database)
    first = labels(journal)
    journal.change(BASE, 0, Action("relabel", ("m0",), label="x"), "ann")
    journal.change(BASE, 1, Action("delete", ("m1",)), "bob")
    changed = labels(journal)
    state = journal.change(BASE, 2, Action("undo"), "ann")
    assert (state.revision, state.undo, state.redo) == (3, 1, 2)
    state = journal.change(BASE, 3, Action("undo"), "ann")
    assert labels(journal) == first and state.undo == 0
    with pytest.raises(InvalidProblem, match="nothing to undo"):
        journal.change(BASE, 4, Action("undo"), "ann")
    journal.change(BASE, 4, Action("redo"), "ann")
    state = journal.change(BASE, 5, Action("redo"), "ann")
    assert labels(journal) == changed and state.redo == 0
    history = journal.history("abc")
    assert [entry.action.kind for entry in history] == [
        *("relabel", "delete", "undo", "undo", "redo", "redo")
    ]
    assert [entry.author for entry in history][:2] == ["ann", "bob"]
    assert history[0].removed[0].label == "label 0" and history[0].added[0].by == "person"


def test_a_change_after_undo_forgets_what_could_be_redone(database: Database) -> None:
    journal = Journal(database)
    journal.change(BASE, 0, Action("delete", ("m0",)), "ann")
    journal.change(BASE, 1, Action("undo"), "ann")
    state = journal.change(BASE, 2, Action("check", checked=True), "ann")
    assert state.redo == 0 and state.timeline.checked
    assert not journal.change(BASE, 3, Action("undo"), "ann").timeline.checked


def test_a_stale_revision_changes_nothing(database: Database) -> None:
    journal = Journal(database)
    journal.change(BASE, 0, Action("delete", ("m0",)), "ann")
    with pytest.raises(StaleProblem, match="at revision 1"):
        journal.change(BASE, 0, Action("delete", ("m1",)), "bob")
    assert len(journal.history("abc")) == 1 and len(labels(journal)) == 49


def test_two_threads_never_take_the_same_revision(tmp_path: Path) -> None:
    """Each has a connection of its own, as two servers of one folder have."""
    taken: list[int] = []

    def work() -> None:
        database = Database(tmp_path)
        journal = Journal(database)
        for _ in range(10):
            while True:
                revision = journal.state(BASE).revision
                try:
                    label = f"{revision}"
                    state = journal.change(
                        BASE, revision, Action("add", start=3, end=4, label=label), "x"
                    )
                except StaleProblem:
                    continue
                taken.append(state.revision if state.revision > revision else -1)
                break
        database.close()

    Database(tmp_path).close()
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database = Database(tmp_path)
    assert [e.revision for e in Journal(database).history("abc")] == list(range(1, 31))
    database.close()


def test_a_result_that_was_made_again_keeps_its_corrections(database: Database) -> None:
    journal = Journal(database)
    journal.change(BASE, 0, Action("relabel", ("m0",), label="mine"), "ann")
    again = Base("abc", "a.json", "a.mp4", BASE.segments[:10], 50.0)
    state = journal.state(again)
    assert state.remade and len(state.timeline.segments) == 50
    assert state.timeline.ordered()[0].label == "mine"


def test_a_database_of_another_version_is_refused(tmp_path: Path) -> None:
    database = Database(tmp_path)
    with database.transaction() as cursor:
        cursor.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(OutputError, match="another version"):
        Database(tmp_path)


_WRITER = """
import sys
from pathlib import Path
from tests.studio.correcting.test_journal import BASE
from vtnstream.studio.correcting.journal import Journal
from vtnstream.studio.correcting.timeline import Action
from vtnstream.studio.database import Database
journal = Journal(Database(Path(sys.argv[1])))
while True:
    revision = journal.state(BASE).revision
    label = f"change {revision + 1}"
    state = journal.change(BASE, revision, Action("add", start=3, end=4, label=label), "x")
    sys.stdout.write(f"{state.revision}\\n")
    sys.stdout.flush()
"""


def test_nothing_acknowledged_is_lost_by_kill(tmp_path: Path) -> None:
    rng = random.Random(4)
    acknowledged = 0
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]
        time.sleep(rng.uniform(0.0, 0.15))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.wait()
        writer.stdout.close()
        acknowledged = max(int(line) for line in lines if line.endswith("\n"))
        database = Database(tmp_path)
        journal = Journal(database)
        history = journal.history("abc")
        assert len(history) in (acknowledged, acknowledged + 1)
        assert [e.revision for e in history] == list(range(1, len(history) + 1))
        added = [e.added[0].label for e in history]
        assert added == [f"change {k}" for k in range(1, len(history) + 1)]
        found = [s for s in journal.state(BASE).timeline.ordered() if s.start == 3]
        assert [s.label for s in found] == [added[-1]]
        database.close()
    assert acknowledged > 8
