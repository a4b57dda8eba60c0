"""The queue of jobs in the database. It survives a restart of the server."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from vtnstream.studio.database import Database
from vtnstream.studio.problems import InvalidProblem, NotFoundProblem

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
ENDED = (DONE, FAILED, CANCELLED)
ANALYSE, PREVIEW, TRAIN = "analyse", "preview", "train"
SEARCH, READ, SUGGEST = "search", "read", "suggest"

_MAX_ATTEMPTS = 3
"""Starts of a job that ended the server each time, before it counts as failed."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job.

    Attributes:
        id: number, in the order of submission.
        kind: ``analyse``, ``preview``, ``train``, ``search``, ``read`` (features for searches) or
            ``suggest``.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        created, started, ended: seconds since 1970, or None.
        request: arguments of the job.
        share: progress, 0 to 1.
        note: progress in words, or why it failed.
        outcome: what it made.
    """

    id: int
    kind: str
    state: str
    created: float
    started: float | None
    ended: float | None
    request: dict[str, Any]
    share: float
    note: str
    outcome: dict[str, Any] = field(default_factory=dict)


class JobQueue:
    """Jobs, the oldest first.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._arrived = threading.Condition()
        self._cancelled: set[int] = set()
        self._closed = False

    def submit(self, kind: str, request: Mapping[str, Any]) -> Job:
        """Add a job; it is on the disk when this returns."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO jobs (kind, state, created, request) VALUES (?, ?, ?, ?)",
                (kind, QUEUED, time.time(), json.dumps(request)),
            )
            number = cursor.lastrowid
        with self._arrived:
            self._arrived.notify_all()
        return self.find(int(number or 0))

    def find(self, number: int) -> Job:
        """A job.

        Raises:
            NotFoundProblem: there is none of this number.
        """
        row = self._database.row("SELECT * FROM jobs WHERE id = ?", (number,))
        if row is None:
            raise NotFoundProblem(f"there is no job {number}")
        return _job(row)

    def recent(self, count: int = 50) -> list[Job]:
        """The latest jobs, the newest first; searches are left out."""
        rows = self._database.rows(
            "SELECT * FROM jobs WHERE kind <> ? ORDER BY id DESC LIMIT ?", (SEARCH, count)
        )
        return list(map(_job, rows))

    def latest(self, kind: str) -> Job | None:
        """The latest job of a kind that is done, or None."""
        row = self._database.row(
            "SELECT * FROM jobs WHERE kind = ? AND state = ? ORDER BY id DESC LIMIT 1", (kind, DONE)
        )
        return None if row is None else _job(row)

    def forget(self, kind: str, keep: int) -> None:
        """Remove all but the latest ``keep`` jobs of a kind that have ended."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "DELETE FROM jobs WHERE kind = ? AND state IN (?, ?, ?) AND id NOT IN"
                " (SELECT id FROM jobs WHERE kind = ? ORDER BY id DESC LIMIT ?)",
                (kind, *ENDED, kind, keep),
            )

    def pending(self, kind: str, request: Mapping[str, Any]) -> Job | None:
        """A job of the same request that has not ended."""
        row = self._database.row(
            "SELECT * FROM jobs WHERE kind = ? AND request = ? AND state IN (?, ?)",
            (kind, json.dumps(request), QUEUED, RUNNING),
        )
        return None if row is None else _job(row)

    def claim(self, timeout: float, kinds: Collection[str]) -> Job | None:
        """Start the oldest queued job of these kinds; None if there was none for ``timeout``
        seconds."""
        end = time.monotonic() + timeout
        while True:
            with self._database.transaction() as cursor:
                cursor.execute(
                    f"SELECT * FROM jobs WHERE state = ? AND kind IN ({_marks(kinds)})"
                    " ORDER BY id LIMIT 1",
                    (QUEUED, *kinds),
                )
                row = cursor.fetchone()
                if row is not None:
                    cursor.execute(
                        "UPDATE jobs SET state = ?, started = ?, attempts = attempts + 1 "
                        "WHERE id = ?",
                        (RUNNING, time.time(), row["id"]),
                    )
            if row is not None:
                return self.find(row["id"])
            with self._arrived:
                left = end - time.monotonic()
                if left <= 0 or self._closed:
                    return None
                self._arrived.wait(left)

    def end_waiting(self) -> None:
        """End the wait of :meth:`claim`, now and from now on."""
        with self._arrived:
            self._closed = True
            self._arrived.notify_all()

    def progress(self, number: int, share: float, note: str) -> None:
        """Record the progress of a running job."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET share = ?, note = ? WHERE id = ?",
                (min(max(share, 0.0), 1.0), note, number),
            )

    def finish(self, number: int, state: str, note: str, outcome: Mapping[str, Any]) -> None:
        """Record the end of a job."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET state = ?, ended = ?, note = ?, outcome = ?, "
                "share = CASE WHEN ? THEN 1.0 ELSE share END WHERE id = ?",
                (state, time.time(), note, json.dumps(outcome), state == DONE, number),
            )
        self._cancelled.discard(number)

    def cancel(self, number: int) -> Job:
        """Cancel a job that has not ended; a running one stops soon afterwards.

        Raises:
            InvalidProblem: it has ended.
        """
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET state = ?, ended = ?, note = '' WHERE id = ? AND state = ?",
                (CANCELLED, time.time(), number, QUEUED),
            )
        job = self.find(number)
        if job.state == RUNNING:
            self._cancelled.add(number)
        elif job.state != CANCELLED:
            raise InvalidProblem(f"job {number} has ended already ({job.state})")
        return job

    def is_cancelled(self, number: int) -> bool:
        """Whether a running job should stop."""
        return number in self._cancelled

    def put_back(self, number: int) -> None:
        """Queue a running job again, because the server stops."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET state = ?, share = 0, attempts = attempts - 1 WHERE id = ?",
                (QUEUED, number),
            )

    def recover(self, kinds: Collection[str]) -> None:
        """Queue jobs of these kinds again that ran when the last server was killed; those that were
        running at the end of several servers count as failed."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE jobs SET state = ?, ended = ?, note = ? WHERE state = ? AND attempts >= ?"
                f" AND kind IN ({_marks(kinds)})",
                (
                    FAILED,
                    time.time(),
                    "the studio ended during it several times",
                    RUNNING,
                    _MAX_ATTEMPTS,
                    *kinds,
                ),
            )
            cursor.execute(
                "UPDATE jobs SET state = ?, share = 0 WHERE state = ?"
                f" AND kind IN ({_marks(kinds)})",
                (QUEUED, RUNNING, *kinds),
            )


def _marks(values: Collection[str]) -> str:
    """Placeholders of SQL for these values."""
    return ", ".join("?" for _ in values)


def _job(row: sqlite3.Row) -> Job:
    return Job(
        row["id"],
        row["kind"],
        row["state"],
        row["created"],
        row["started"],
        row["ended"],
        json.loads(row["request"]),
        row["share"],
        row["note"],
        json.loads(row["outcome"]),
    )
