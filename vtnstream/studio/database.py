"""The database of the studio: one SQLite file that survives a killed process.

Every transaction is synced to the disk before it counts as done (write-ahead log, ``synchronous =
FULL``), so that a correction that was acknowledged is never lost.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vtnstream.errors import OutputError

FILE = "studio.sqlite3"
_VERSION = 2
_BUSY_SECONDS = 30

_SCHEMA = """
CREATE TABLE results (
    id TEXT PRIMARY KEY, path TEXT NOT NULL, position INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL, seen INTEGER NOT NULL,
    state TEXT NOT NULL, name TEXT NOT NULL, input TEXT NOT NULL, label TEXT NOT NULL,
    length REAL NOT NULL, segments INTEGER NOT NULL, score REAL, model TEXT NOT NULL,
    problem TEXT NOT NULL
);
CREATE INDEX results_path ON results (path);
CREATE INDEX results_name ON results (name, id);
CREATE TABLE labels (id TEXT NOT NULL, label TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (id, label)) WITHOUT ROWID;
CREATE INDEX labels_label ON labels (label);
CREATE TABLE documents (
    id TEXT PRIMARY KEY, result TEXT NOT NULL, input TEXT NOT NULL, digest TEXT NOT NULL,
    base TEXT NOT NULL, revision INTEGER NOT NULL, checked INTEGER NOT NULL
);
CREATE TABLE corrected (id TEXT PRIMARY KEY, segments INTEGER NOT NULL, score REAL);
CREATE TABLE corrected_labels (id TEXT NOT NULL, label TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (id, label)) WITHOUT ROWID;
CREATE INDEX corrected_labels_label ON corrected_labels (label);
CREATE VIEW shown_labels AS
    SELECT c.* FROM corrected_labels c JOIN results r ON r.id = c.id
    UNION ALL
    SELECT l.* FROM labels l WHERE l.id NOT IN (SELECT id FROM corrected);
CREATE TABLE changes (
    id TEXT NOT NULL, revision INTEGER NOT NULL, at REAL NOT NULL, author TEXT NOT NULL,
    action TEXT NOT NULL, removed TEXT NOT NULL, added TEXT NOT NULL, checked INTEGER,
    PRIMARY KEY (id, revision)
) WITHOUT ROWID;
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, state TEXT NOT NULL,
    created REAL NOT NULL, started REAL, ended REAL, attempts INTEGER NOT NULL DEFAULT 0,
    request TEXT NOT NULL, share REAL NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT '',
    outcome TEXT NOT NULL DEFAULT '{}'
);
"""


class Database:
    """A connection that threads share, one transaction at a time.

    Args:
        folder: of the file.

    Raises:
        OutputError: the file cannot be written, or another version wrote it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._prepare()
        except sqlite3.Error as error:
            raise OutputError(
                f"{self.path}: cannot be used ({error}): name a writable folder with --state"
            ) from error

    def _prepare(self) -> None:
        with self.transaction() as cursor:
            (version,) = cursor.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {_VERSION}")
            elif version != _VERSION:
                raise OutputError(
                    f"{self.path}: written by another version of vtnstream: update it, or name "
                    "another folder with --state"
                )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Cursor]:
        """All or nothing; on the disk when the context ends.

        Raises:
            OutputError: the database cannot be written.
        """
        with self._lock:
            cursor = self._connection.cursor()
            try:
                cursor.execute("BEGIN IMMEDIATE")
                yield cursor
                cursor.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:
                    cursor.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise OutputError(f"{self.path}: cannot be written ({error})") from error
                raise
            finally:
                cursor.close()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """The rows of a query."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def row(self, query: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, or None."""
        with self._lock:
            found: sqlite3.Row | None = self._connection.execute(query, values).fetchone()
            return found

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
