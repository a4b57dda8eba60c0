"""Vectors of many videos in LanceDB: the only file that imports lancedb.

Three tables. ``vectors`` holds a row a frame, ``videos`` a row a video, ``pending`` a row for
each video that is being written. Rows of ``vectors`` carry the number of their batch, and count
only once a row of ``videos`` names it: a writer that is killed leaves rows that nobody sees and
that a later run removes. Writers need no lock, LanceDB commits one after another.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vtnstream.config.runtime import default_cache_dir
from vtnstream.errors import StoreError, UsageError
from vtnstream.library.rows import (
    EXTRA,
    Hits,
    LibraryAbout,
    VideoRow,
    schemas,
    token_times,
    vector_rows,
)
from vtnstream.optional import require
from vtnstream.types import Features, FloatArray, SecondsArray
from vtnstream.wording import plural

T = TypeVar("T")

EXACT_ROWS = 100_000
"""Up to so many vectors every one is compared; beyond, an index is built."""

ROWS_A_PARTITION = 8192
NUM_PROBES = 40
COMPARED_ROWS = 400
"""Rows of a partition of the index, how many partitions are read, and how many of their rows at
least are compared exactly. The index holds one byte for each number of a vector. The share of
the exact answers that is found depends on the vectors: ``python -m benchmarks library`` measures
it. Product-quantised codes need an eighth of the space and take twenty-five times as long to
build; with them, five times as many rows had to be compared for the same share."""

_INDEX = "IvfSq"
"""LanceDB's name of this kind of index."""

_TRAINING_ROUNDS, _TRAINED_ROWS = 10, 64
"""Rounds in which the partitions are found, and rows for each of them."""

_ABANDONED_SECONDS = 24 * 3600.0
_TRIES = 12


def place_of(name: str) -> str:
    """Return the location of a library: an address or path unchanged, a plain name in the cache."""
    if "://" in name or "/" in name or "\\" in name:
        return name
    if not name.strip():
        raise UsageError("the library has no name: write --library NAME")
    return str(default_cache_dir() / "libraries" / name)


class LibraryStore:
    """An open library.

    Args:
        name: plain name, folder or address.
        about: what a new library is; None opens one that exists.

    Raises:
        StoreError: it does not exist, or is no library.
        UsageError: its vectors are of another model or sampling than ``about``.
        MissingExtraError: lancedb is not installed.
    """

    def __init__(self, name: str, about: LibraryAbout | None = None) -> None:
        lancedb = require("lancedb", EXTRA)
        self.name, self.place = name, place_of(name)
        if "://" not in self.place and about is not None:
            Path(self.place).mkdir(parents=True, exist_ok=True)
        elif "://" not in self.place and not Path(self.place).is_dir():
            raise StoreError(f"library {name}: is not there: `vtnstream index` makes it")
        try:
            self._database = lancedb.connect(self.place)
            self.about = self._opened(about)
            self._tables = {
                table: self._database.open_table(table)
                for table in ("vectors", "videos", "pending")
            }
        except (OSError, RuntimeError, ValueError) as error:
            if isinstance(error, (StoreError, UsageError)):
                raise
            raise StoreError(f"library {name}: cannot be opened ({_short(error)})") from error

    def _opened(self, about: LibraryAbout | None) -> LibraryAbout:
        """Return the description of the library; a new one is created with ``about``."""
        if "about" not in self._database.list_tables().tables:
            if about is None:
                raise StoreError(f"library {self.name}: is not there: `vtnstream index` makes it")
            for table, schema in schemas(about.size).items():
                self._database.create_table(table, schema=schema, exist_ok=True)
            rows = [asdict(about)]
            self._database.create_table("about", data=rows, exist_ok=True)  # last: now it is whole
        found = LibraryAbout(**self._database.open_table("about").to_arrow().to_pylist()[0])
        if about is None:
            return found
        for field, what in (
            ("weights_sha256", "another model"),
            ("size", "another model"),
            ("sampling", "another sampling"),
        ):
            if getattr(found, field) != getattr(about, field):
                raise UsageError(
                    f"library {self.name}: holds vectors of {what} ({found.model or 'a backbone'}, "
                    f"{found.sampling}): use that, or another --library"
                )
        return found

    # ----------------------------------------------------------------------------- videos

    def videos(self) -> dict[str, VideoRow]:
        """Return all videos by path."""
        self._tables["videos"].checkout_latest()
        columns = [field.name for field in fields(VideoRow)]
        table = self._tables["videos"].to_arrow().select(columns)
        return {row["path"]: VideoRow(**row) for row in table.to_pylist()}

    def write(
        self,
        row: Callable[[str], VideoRow],
        blocks: Iterable[tuple[FloatArray, SecondsArray, SecondsArray]],
        path: str,
    ) -> None:
        """Add a video, or put it in the place of what was known of its path.

        Args:
            row: makes the row from the number of its batch, after all blocks were read.
            blocks: unit vectors (n, E) with start and end seconds.
            path: of the video.

        Raises:
            StoreError: the library cannot be written.
        """
        batch = uuid.uuid4().hex
        self._retried(lambda: self._tables["pending"].add([
            {"batch": batch, "path": path, "started": time.time()}
        ]))  # fmt: skip
        for vectors, starts, ends in blocks:
            rows = vector_rows(vectors, batch, starts, ends)
            self._retried(lambda rows=rows: self._tables["vectors"].add(rows))  # type: ignore[misc]
        made = row(batch)
        replaced = self.videos().get(path)
        self._retried(
            lambda: (
                self._tables["videos"]
                .merge_insert("path")
                .when_matched_update_all()
                .when_not_matched_insert_all()
                .execute([asdict(made)])
            )
        )
        self._drop_batches([replaced.batch] if replaced is not None else [])
        self._retried(lambda: self._tables["pending"].delete(f"batch = '{batch}'"))

    def touch(self, row: VideoRow) -> None:
        """Replace the row of a video whose content has not changed."""
        self._retried(
            lambda: (
                self._tables["videos"]
                .merge_insert("path")
                .when_matched_update_all()
                .execute([asdict(row)])
            )
        )

    def remove(self, rows: Sequence[VideoRow]) -> None:
        """Remove videos; their rows first, so that no search finds a part of one."""
        for row in rows:
            quoted = row.path.replace("'", "''")
            self._retried(
                lambda quoted=quoted: self._tables["videos"].delete(f"path = '{quoted}'")  # type: ignore[misc]
            )
        self._drop_batches([row.batch for row in rows])

    def clean(self) -> int:
        """Remove the rows of writers that were killed more than a day ago.

        Returns:
            number of batches.
        """
        self._tables["pending"].checkout_latest()
        known = {row.batch for row in self.videos().values()}
        oldest = time.time() - _ABANDONED_SECONDS
        old = [
            row["batch"]
            for row in self._tables["pending"].to_arrow().to_pylist()
            if row["started"] < oldest
        ]
        self._drop_batches([batch for batch in old if batch not in known])
        for batch in old:
            self._retried(
                lambda batch=batch: self._tables["pending"].delete(f"batch = '{batch}'")  # type: ignore[misc]
            )
        return len(old)

    def _drop_batches(self, batches: Sequence[str]) -> None:
        for batch in batches:
            self._retried(
                lambda batch=batch: self._tables["vectors"].delete(f"batch = '{batch}'")  # type: ignore[misc]
            )

    # ---------------------------------------------------------------------------- vectors

    def count(self) -> int:
        """Return the number of vectors, those of unfinished videos included."""
        return int(self._tables["vectors"].count_rows())

    def maintain(self) -> str | None:
        """Compact the files, and build or extend the index where there are more vectors than are
        compared one by one.

        Returns:
            What was done to the index, or None.
        """
        table = self._tables["vectors"]
        for one in self._tables.values():
            one.checkout_latest()
            self._retried(one.optimize)
        rows = table.count_rows()
        if rows <= EXACT_ROWS or self.is_indexed:
            return None
        index = require("lancedb.index", EXTRA)
        near = index.IvfSq(
            distance_type="cosine",
            num_partitions=max(1, rows // ROWS_A_PARTITION),
            max_iterations=_TRAINING_ROUNDS,
            sample_rate=_TRAINED_ROWS,
        )
        self._retried(lambda: table.create_index("vector", config=near))
        self._retried(lambda: table.create_index("batch", config=index.Bitmap()))
        return f"an index over {plural(rows, 'vector')} was built"

    @property
    def is_indexed(self) -> bool:
        """Return whether the vectors have an index of the kind that :meth:`maintain` builds.

        One of another kind, of an earlier version, would need other limits of a query: it is not
        used, and the next :meth:`maintain` replaces it.
        """
        indices = self._tables["vectors"].list_indices()
        return any(list(i.columns) == ["vector"] and i.index_type == _INDEX for i in indices)

    def nearest(self, vector: FloatArray, limit: int, *, exact: bool = False) -> Hits:
        """The vectors with the highest cosine to ``vector``, best first.

        Args:
            vector: (E,) float32.
            limit: how many.
            exact: compare every vector, even if there is an index.

        Raises:
            UsageError: a vector of another space.
            StoreError: the library cannot be read.
        """
        if vector.shape != (self.about.size,):
            raise UsageError(
                f"library {self.name}: has vectors of {self.about.size} numbers and the query "
                f"{len(vector)}: they are of different models"
            )
        query = self._tables["vectors"].search(vector).metric("cosine").limit(limit)
        if exact or not self.is_indexed:
            query = query.bypass_vector_index()
        else:
            query = query.nprobes(NUM_PROBES).refine_factor(max(1, -(-COMPARED_ROWS // limit)))
        found, vectors = self._read(query)
        return Hits(
            vectors,
            tuple(found["batch"].to_pylist()),
            found["start"].to_numpy(),
            found["end"].to_numpy(),
        )

    def features(self, row: VideoRow) -> Features:
        """All vectors of one video (T, E), in the order of time.

        Raises:
            StoreError: the library cannot be read.
        """
        table = self._tables["vectors"]
        query = table.search().where(f"batch = '{row.batch}'").limit(max(1, row.tokens))
        found, vectors = self._read(query)
        starts, ends = found["start"].to_numpy(), found["end"].to_numpy()
        order = np.argsort(starts, kind="stable")
        return Features(vectors[order], token_times(starts[order], ends[order]))

    def _read(self, query: Any) -> tuple[Any, FloatArray]:
        """Return the rows of a query as an Arrow table, and their vectors (n, E) float32."""
        try:
            found = query.to_arrow()
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreError(f"library {self.name}: cannot be read ({_short(error)})") from error
        flat = found["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return found, np.asarray(flat, np.float32).reshape(-1, self.about.size)

    def _retried(self, work: Callable[[], T]) -> T:
        """Commit; retry if another writer committed in between."""
        for number in range(_TRIES):
            try:
                return work()
            except (OSError, RuntimeError, ValueError) as error:
                text = str(error).lower()
                if number == _TRIES - 1 or not ("conflict" in text or "retry" in text):
                    raise StoreError(
                        f"library {self.name}: cannot be written ({_short(error)})"
                    ) from error
                time.sleep(random.uniform(0.02, 0.1) * 2 ** min(number, 5))
        raise AssertionError("unreachable")


def _short(error: Exception) -> str:
    """Return the first line of an error message."""
    return " ".join(str(error).split("\n", 1)[0].split())[:200] or type(error).__name__


def state_text(state: Mapping[str, Any]) -> str:
    """Return a file's state as JSON text; equal states have equal texts."""
    return json.dumps(dict(state), sort_keys=True)
