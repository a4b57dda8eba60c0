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
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vtnstream.config.runtime import default_cache_dir
from vtnstream.errors import StoreError, UsageError
from vtnstream.optional import require
from vtnstream.types import FloatArray, SecondsArray
from vtnstream.wording import plural

T = TypeVar("T")

EXTRA = "library"
SCHEMA = 1
EXACT_ROWS = 100_000
"""Up to so many vectors every one is compared; beyond, an index is built."""

ROWS_A_PARTITION = 8192
NUM_PROBES = 40
COMPARED_ROWS = 2000
"""Rows of a partition of the index, how many partitions are read, and how many of their rows at
least are compared exactly. The share of the exact answers that is found depends on the vectors:
``python -m benchmarks library`` measures it."""

_ABANDONED_SECONDS = 24 * 3600.0
_TRIES = 12
_DIMENSIONS_A_CODE = 8


@dataclass(frozen=True, slots=True)
class LibraryAbout:
    """What the vectors of a library are.

    Attributes:
        model: name of the model, as ``--model`` takes it; empty where a backbone was named.
        weights_sha256: hash of the weights that read the frames.
        size: E, numbers of a vector.
        sampling: which frames, as JSON.
        schema: version of the tables.
    """

    model: str
    weights_sha256: str
    size: int
    sampling: str
    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One video of a library.

    Attributes:
        path: absolute, or its address.
        batch: which rows of ``vectors`` are its own.
        state: where and when the file was read, as JSON.
        identity: size and block hash of its content.
        tokens: number of vectors.
        near, far: see :class:`vtnstream.words.vectors.FrameStatistics`; NaN for a single frame.
        report: its report without an answer, as JSON.
    """

    path: str
    batch: str
    state: str
    identity: str
    tokens: int
    near: float
    far: float
    report: str


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Frames of a library near a vector.

    Attributes:
        vectors: (n, E) float32.
        batches: n numbers of batches.
        starts, ends: (n,) seconds of the source.
    """

    vectors: FloatArray
    batches: tuple[str, ...]
    starts: SecondsArray
    ends: SecondsArray


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
            for table, schema in _schemas(about.size).items():
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
            rows = _vector_rows(vectors, batch, starts, ends)
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
        self._retried(
            lambda: table.create_index(
                metric="cosine",
                num_partitions=max(1, rows // ROWS_A_PARTITION),
                num_sub_vectors=_codes(self.about.size),
            )
        )
        return f"an index over {plural(rows, 'vector')} was built"

    @property
    def is_indexed(self) -> bool:
        """Return whether an index exists."""
        return bool(self._tables["vectors"].list_indices())

    def nearest(self, vector: FloatArray, limit: int, *, exact: bool = False) -> Hits:
        """The vectors with the highest cosine to ``vector``, best first.

        Args:
            vector: (E,) float32.
            limit: how many.
            exact: compare every vector even where there is an index.

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
        try:
            found = query.to_arrow()
        except (OSError, RuntimeError, ValueError) as error:
            raise StoreError(f"library {self.name}: cannot be read ({_short(error)})") from error
        flat = found["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        return Hits(
            np.asarray(flat, np.float32).reshape(-1, self.about.size),
            tuple(found["batch"].to_pylist()),
            found["start"].to_numpy(),
            found["end"].to_numpy(),
        )

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


def _codes(size: int) -> int:
    """Return the number of sub-vectors of a product-quantised vector: of about 8 numbers each."""
    wanted = max(1, size // _DIMENSIONS_A_CODE)
    return next(count for count in range(wanted, 0, -1) if size % count == 0)


def _schemas(size: int) -> Mapping[str, Any]:
    arrow = require("pyarrow", EXTRA)
    text, real, whole = arrow.string(), arrow.float64(), arrow.int64()
    kinds = {"str": text, "float": real, "int": whole}
    return {
        "vectors": arrow.schema(
            [
                ("vector", arrow.list_(arrow.float16(), size)),
                ("batch", text),
                ("start", real),
                ("end", real),
            ]
        ),
        "videos": arrow.schema([(f.name, kinds[str(f.type)]) for f in fields(VideoRow)]),
        "pending": arrow.schema([("batch", text), ("path", text), ("started", real)]),
    }


def _vector_rows(vectors: FloatArray, batch: str, starts: SecondsArray, ends: SecondsArray) -> Any:
    arrow = require("pyarrow", EXTRA)
    flat = arrow.array(np.ascontiguousarray(vectors, np.float16).ravel(), arrow.float16())
    return arrow.table(
        {
            "vector": arrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
            "batch": [batch] * len(vectors),
            "start": starts,
            "end": ends,
        }
    )


def _short(error: Exception) -> str:
    """Return the first line of an error message."""
    return " ".join(str(error).split("\n", 1)[0].split())[:200] or type(error).__name__


def state_text(state: Mapping[str, Any]) -> str:
    """Return a file's state as JSON text; equal states have equal texts."""
    return json.dumps(dict(state), sort_keys=True)
