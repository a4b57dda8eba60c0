"""The index of results: scanned in the background, queried page by page."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from vtnstream.batch.status import latest, open_log
from vtnstream.batch.storage import open_storage
from vtnstream.batch.workers.outcome import FAILED as BATCH_FAILED
from vtnstream.errors import VtnstreamError
from vtnstream.report.terminal.glyphs import printable
from vtnstream.studio.database import Database
from vtnstream.studio.folders import Workspace
from vtnstream.studio.problems import InvalidProblem, NotFoundProblem
from vtnstream.studio.results.listing import (
    DONE,
    FAILED,
    NEW,
    PARTIAL,
    STATES,
    Listing,
    listings,
    walk,
)
from vtnstream.suffixes import VIDEO_SUFFIXES

SORTS = {
    "name": "name COLLATE NOCASE, r.id",
    "length": "length DESC, name COLLATE NOCASE, r.id",
    "segments": "shown_segments DESC, name COLLATE NOCASE, r.id",
    "newest": "mtime_ns DESC, name COLLATE NOCASE, r.id",
    "unsure": "coalesce(d.checked, 0), coalesce(d.revision, 0) > 0, shown_score IS NULL, "
    "shown_score, r.id",
}
"""Sort -> SQL. ``unsure`` lists first what the model is least sure of and nobody has checked."""

CORRECTED, CHECKED, OPEN = "corrected", "checked", "open"
_CONDITIONS = {
    CORRECTED: "d.revision > 0",
    CHECKED: "d.checked = 1",
    OPEN: "coalesce(d.checked, 0) = 0 AND r.state IN ('done', 'partial')",
}
FILTERS = (*STATES, *_CONDITIONS)
_BATCH = 100
_MAX_PAGE = 500
_COLUMNS = "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"


@dataclass(frozen=True, slots=True)
class Row:
    """A result in the library; see :class:`~vtnstream.studio.results.listing.Listing`."""

    id: str
    state: str
    name: str
    label: str
    length: float
    segments: int
    score: float | None
    model: str
    problem: str
    path: str
    revision: int
    checked: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the library.

    Attributes:
        rows: of this page.
        total: number of results that match.
        scanning: whether the folders are still being searched.
        found: number of results found so far.
    """

    rows: tuple[Row, ...]
    total: int
    scanning: bool
    found: int


@dataclass(frozen=True, slots=True)
class Query:
    """What the library is asked for.

    Attributes:
        text: part of a file name or label.
        label: a label that must occur.
        state: one of :data:`FILTERS`, or empty.
        sort: one of :data:`SORTS`.
        start: number of the first row, from 0.
        size: number of rows.
    """

    text: str = ""
    label: str = ""
    state: str = ""
    sort: str = "name"
    start: int = 0
    size: int = 60


class Index:
    """Finds results and answers queries about them.

    Args:
        workspace: the folders.
        database: where the index is kept between runs.
    """

    def __init__(self, workspace: Workspace, database: Database) -> None:
        self._workspace = workspace
        self._database = database
        self._lock = threading.Lock()
        self._again = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = False

    # ---------------------------------------------------------------------------- scanning

    def refresh(self) -> None:
        """Search the folders in the background; a search that runs starts again afterwards."""
        with self._lock:
            self._again.set()
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._scan_in_turn, daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait until no search runs."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def stop(self) -> None:
        """End a search that runs."""
        self._stopped = True
        self.wait()

    def _scan_in_turn(self) -> None:
        while True:
            with self._lock:
                if not self._again.is_set() or self._stopped:
                    self._thread = None
                    return
                self._again.clear()
            self.scan()

    def scan(self) -> None:
        """Search the folders now. Files that did not change are not read again."""
        row = self._database.row("SELECT coalesce(max(seen), 0) AS seen FROM results")
        number = int(row["seen"]) + 1 if row is not None else 1
        found = self._found(number)
        while part := list(islice(found, _BATCH)):
            if self._stopped:
                return
            with self._database.transaction() as cursor:
                for values, labels in part:
                    _store(cursor, values, labels)
        with self._database.transaction() as cursor:
            gone = "SELECT id FROM results WHERE seen < ?"
            cursor.execute(f"DELETE FROM labels WHERE id IN ({gone})", (number,))
            cursor.execute("DELETE FROM results WHERE seen < ?", (number,))

    def _found(self, number: int) -> Iterator[tuple[tuple[Any, ...], dict[str, float] | None]]:
        analysed: set[str] = set()
        for path in self._result_files():
            for values, labels in self._of_file(path, number):
                analysed.add(values[8])
                video = self._workspace.video_of(values[8], path.parent)
                analysed.update(() if video is None else (str(video),))
                yield values, labels
        yield from self._failures(number, analysed)
        yield from self._videos(number, analysed)

    def _result_files(self) -> Iterator[Path]:
        yield from self._workspace.files
        for folder in self._workspace.results:
            for path in walk(folder, self._workspace.state):
                if path.suffix == ".json":
                    yield path

    def _of_file(
        self, path: Path, number: int
    ) -> Iterator[tuple[tuple[Any, ...], dict[str, float] | None]]:
        """Rows of a file; labels are None where the stored ones still hold."""
        try:
            status = path.stat()
        except OSError:
            return
        relative = self._workspace.relative(path)
        known = self._database.rows(
            "SELECT * FROM results WHERE path = ? ORDER BY position", (relative,)
        )
        if known and (known[0]["mtime_ns"], known[0]["size"]) == (
            status.st_mtime_ns,
            status.st_size,
        ):
            for row in known:
                yield tuple({**dict(row), "seen": number}.values()), None
            return
        for position, item in enumerate(listings(path)):
            name = result_id(relative, position)
            place = (relative, position, status.st_mtime_ns, status.st_size)
            yield _values(name, place, number, item), dict(item.labels)

    def _failures(
        self, number: int, analysed: set[str]
    ) -> Iterator[tuple[tuple[Any, ...], dict[str, float]]]:
        """Videos that failed in a batch, from its status lines."""
        for folder in self._workspace.results:
            if not any(folder.glob("status*.jsonl")):
                continue
            try:
                lines = latest(open_log(open_storage(str(folder)), None).lines())
            except (VtnstreamError, OSError):
                continue
            for line in lines.values():
                if line.status == BATCH_FAILED and line.input not in analysed:
                    analysed |= {line.input, line.path}
                    name = printable(Path(line.input).name)
                    item = Listing(FAILED, name, line.input, problem=printable(line.error or ""))
                    place = (f"failed:{line.input}", 0, 0, 0)
                    yield _values(result_id(place[0], 0), place, number, item), {}

    def _videos(
        self, number: int, analysed: set[str]
    ) -> Iterator[tuple[tuple[Any, ...], dict[str, float]]]:
        """Videos without a result."""
        known = set(analysed)
        for folder in (*self._workspace.results, *self._workspace.videos):
            for path in walk(folder, self._workspace.state):
                if path.suffix.lower() not in VIDEO_SUFFIXES or str(path) in known:
                    continue
                known.add(str(path))
                place = (self._workspace.relative(path), 0, 0, 0)
                item = Listing(NEW, printable(path.name), str(path))
                yield _values(result_id(place[0], 0), place, number, item), {}

    # ---------------------------------------------------------------------------- querying

    def page(self, query: Query) -> Page:
        """A page of the library.

        Raises:
            InvalidProblem: an unknown sort or filter.
        """
        where, values = _conditions(query)
        order = SORTS.get(query.sort)
        if order is None:
            raise InvalidProblem(f"no sort {query.sort[:40]!r}: there are {', '.join(SORTS)}")
        size, start = min(max(query.size, 1), _MAX_PAGE), max(query.start, 0)
        joined = (
            "FROM results r LEFT JOIN documents d ON d.id = r.id"
            f" LEFT JOIN corrected c ON c.id = r.id WHERE {where}"
        )
        total = self._database.row(f"SELECT count(*) AS n {joined}", values)
        rows = self._database.rows(
            "SELECT r.*, d.revision, d.checked, coalesce(c.segments, r.segments) AS shown_segments,"
            f" CASE WHEN c.id IS NULL THEN r.score ELSE c.score END AS shown_score {joined}"
            f" ORDER BY {order} LIMIT ? OFFSET ?",
            (*values, size, start),
        )
        found = self._database.row("SELECT count(*) AS n FROM results")
        return Page(
            tuple(map(_row, rows)),
            total["n"] if total else 0,
            self._thread is not None,
            found["n"] if found else 0,
        )

    def labels(self, limit: int = 200) -> list[tuple[str, int]]:
        """Labels and the number of results that hold them, the most frequent first."""
        rows = self._database.rows(
            "SELECT label, count(*) AS n FROM shown_labels GROUP BY label ORDER BY n DESC, label"
            " LIMIT ?",
            (limit,),
        )
        return [(row["label"], row["n"]) for row in rows]

    def analysed(self) -> list[sqlite3.Row]:
        """``id``, ``path``, ``input`` and ``name`` of all results with segments or classes."""
        return self._database.rows(
            "SELECT id, path, input, name FROM results WHERE state IN (?, ?) ORDER BY name, id",
            (DONE, PARTIAL),
        )

    def find(self, name: str) -> sqlite3.Row:
        """The stored row of a result.

        Raises:
            NotFoundProblem: there is none of this id.
        """
        row = self._database.row("SELECT * FROM results WHERE id = ?", (name,))
        if row is None:
            raise NotFoundProblem(f"there is no result {name[:40]!r}")
        return row


def result_id(relative: str, position: int) -> str:
    """The id of a result: it stays the same when the workspace is moved as a whole."""
    return hashlib.sha256(f"{relative}#{position}".encode("utf-8", "surrogateescape")).hexdigest()[
        :16
    ]


def _values(
    name: str, place: tuple[str, int, int, int], number: int, item: Listing
) -> tuple[Any, ...]:
    path = place[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    source = item.input.encode("utf-8", "surrogatepass").decode("utf-8", "backslashreplace")
    return (
        name,
        path,
        *place[1:],
        number,
        item.state,
        item.name,
        source,
        item.label,
        item.length,
        item.segments,
        item.score,
        item.model,
        item.problem,
    )


def _store(
    cursor: sqlite3.Cursor, values: tuple[Any, ...], labels: dict[str, float] | None
) -> None:
    if labels is None:
        cursor.execute("UPDATE results SET seen = ? WHERE id = ?", (values[5], values[0]))
        return
    cursor.execute(f"REPLACE INTO results VALUES ({_COLUMNS})", values)
    cursor.execute("DELETE FROM labels WHERE id = ?", (values[0],))
    cursor.executemany(
        "INSERT INTO labels VALUES (?, ?, ?)",
        [(values[0], label, seconds) for label, seconds in labels.items()],
    )


def _conditions(query: Query) -> tuple[str, list[Any]]:
    parts, values = ["1"], list[Any]()
    for word in query.text.split()[:8]:
        like = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        parts.append(
            "(r.name LIKE ? ESCAPE '\\' OR r.label LIKE ? ESCAPE '\\' OR r.id IN "
            "(SELECT id FROM shown_labels WHERE label LIKE ? ESCAPE '\\'))"
        )
        values += [like, like, like]
    if query.label:
        parts.append("r.id IN (SELECT id FROM shown_labels WHERE label = ?)")
        values.append(query.label)
    if query.state in STATES:
        parts.append("r.state = ?")
        values.append(query.state)
    elif query.state in _CONDITIONS:
        parts.append(_CONDITIONS[query.state])
    elif query.state:
        raise InvalidProblem(f"no filter {query.state[:40]!r}: there are {', '.join(FILTERS)}")
    return " AND ".join(parts), values


def _row(row: sqlite3.Row) -> Row:
    return Row(
        id=row["id"],
        state=row["state"],
        name=row["name"],
        label=row["label"],
        length=row["length"],
        segments=row["shown_segments"],
        score=row["shown_score"],
        model=row["model"],
        problem=row["problem"],
        path=row["path"],
        revision=row["revision"] or 0,
        checked=bool(row["checked"]),
    )
