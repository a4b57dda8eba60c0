"""Cache of text vectors on disk, so that a repeated query loads no text tower.

One SQLite file for each text tower. Several commands may read and write it at once, and a killed
command leaves it intact.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np

from vtnstream.errors import StoreError
from vtnstream.types import FloatArray

_TABLE = "CREATE TABLE IF NOT EXISTS vectors (prompt TEXT PRIMARY KEY, vector BLOB NOT NULL)"
_WAIT_SECONDS = 30
_AT_ONCE = 500


class TextVectorCache:
    """Vectors of prompts by one text tower.

    Args:
        folder: contains the files of all towers.
        key: hash of the tower, its tokeniser and the version of the templates, in hex.
        size: E, the length of a vector.
    """

    def __init__(self, folder: Path, key: str, size: int) -> None:
        self.path = folder / f"{key}.sqlite"
        self._size = size

    def read(self, prompts: Iterable[str]) -> dict[str, FloatArray]:
        """Return the cached vectors of the prompts, (E,) float32 each.

        Raises:
            StoreError: the file is damaged or cannot be read.
        """
        if not self.path.exists():
            return {}
        wanted = list(prompts)
        found: dict[str, FloatArray] = {}
        try:
            with closing(self._open()) as database:
                for start in range(0, len(wanted), _AT_ONCE):
                    part = wanted[start : start + _AT_ONCE]
                    marks = ",".join("?" * len(part))
                    query = f"SELECT prompt, vector FROM vectors WHERE prompt IN ({marks})"
                    for prompt, data in database.execute(query, part):
                        vector = np.frombuffer(data, np.float32)
                        if len(vector) == self._size:
                            found[prompt] = vector
        except sqlite3.Error as error:
            raise self._damaged(error) from error
        return found

    def write(self, vectors: Mapping[str, FloatArray]) -> None:
        """Store vectors; existing ones are not replaced.

        Raises:
            StoreError: the file is damaged or cannot be written.
        """
        rows = [
            (prompt, np.ascontiguousarray(vector, np.float32).tobytes())
            for prompt, vector in vectors.items()
        ]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as database, database:
                database.execute(_TABLE)
                database.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
        except (OSError, sqlite3.Error) as error:
            raise self._damaged(error) from error

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_WAIT_SECONDS)

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self.path}: stored text vectors cannot be used ({error}): remove the file, it is "
            "made again"
        )
