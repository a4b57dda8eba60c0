"""Write ``metrics.jsonl``, one line per epoch, during training."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from vtnstream.atomic import whole_file
from vtnstream.errors import OutputError
from vtnstream.training.records import EpochRecord


class MetricsLog:
    """Writer of the file.

    Args:
        path: the file; its folder is created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def begin(self, records: Sequence[EpochRecord]) -> None:
        """Start the file with the records of an interrupted run.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(self.path) as file:
                file.write("".join(map(_line, records)).encode())
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise self._error(error) from error

    def write(self, record: EpochRecord) -> None:
        """Append the record of an epoch.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._file is None:
            return
        try:
            self._file.write(_line(record))
            self._file.flush()
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Close the file.

        Raises:
            OutputError: the file cannot be written.
        """
        if self._file is not None:
            try:
                self._file.close()
            except OSError as error:
                raise self._error(error) from error

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path}: cannot be written ({error.strerror or error})")


def _line(record: EpochRecord) -> str:
    return json.dumps(dataclasses.asdict(record)) + "\n"
