"""``status.jsonl``: one line per processed video, appended as the video ends.

Each line is one synced write. Readers skip a line that a killed process left incomplete, and the
next writer ends it. The last line of a video is valid. Each shard writes its own file
(``status-03-of-10.jsonl``), object stores hold one object per video; all are read together.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

from vtnstream.batch.shard import Shard
from vtnstream.batch.storage import FolderStorage, Storage
from vtnstream.batch.workers.outcome import STATUSES, Outcome
from vtnstream.errors import OutputError, UsageError
from vtnstream.features.lock import lock_file
from vtnstream.wording import plural

SCHEMA = "vtnstream/status/1"
"""Name and version of the schema. A version may gain keys; existing keys never change."""

_STATUS_FILE = "status.jsonl"
_STATUS_FILES = re.compile(r"status(-\d+-of-\d+)?\.jsonl")

_OBJECTS = "status"


@dataclass(frozen=True, slots=True)
class StatusLine:
    """The outcome of one video.

    Attributes:
        input: the name given by the user.
        path: the absolute path.
        status: ``done``, ``partial`` or ``failed``.
        code: reason, one of :data:`vtnstream.batch.workers.outcome.CODES`.
        error: one line, or None unless the video failed.
        seconds: wall time.
        partial: reasons, seconds read and seconds expected of a partial result.
        outputs: name in the output folder, with ``/`` between folders -> size in bytes.
        key: hash of everything that determines results: command, settings, model.
        file: size, modification times and sampled content of the video.
        attempts: number of attempts.
        shard: ``3/10``, or None.
        manifest: hash of the whole list of inputs.
        host, finished: host name, and time of the end (UTC).
    """

    input: str
    path: str
    status: str
    code: str
    error: str | None = None
    seconds: float = 0.0
    partial: dict[str, Any] | None = None
    outputs: dict[str, int] = field(default_factory=dict)
    key: str | None = None
    file: dict[str, Any] | None = None
    attempts: int = 1
    shard: str | None = None
    manifest: str | None = None
    host: str = field(default_factory=socket.gethostname)
    finished: str = field(default_factory=lambda: _timestamp())

    @classmethod
    def of(cls, outcome: Outcome, **facts: Any) -> StatusLine:
        """Make the line of an outcome; ``facts`` are key, shard and manifest."""
        data = outcome.as_dict()
        path = data.pop("path")
        for name in ("warnings", "traceback"):
            data.pop(name)
        data["seconds"] = round(outcome.seconds, 3)
        return cls(input=path, path=os.path.abspath(path), **data, **facts)

    def as_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    def as_json(self, **more: Any) -> str:
        """Return the line without its line break; bytes that are not UTF-8 are written as
        escaped lone surrogates (``"\\udcff"``)."""
        return json.dumps({**self.as_dict(), **more}, ensure_ascii=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> StatusLine | None:
        """Parse a line; None if it is incomplete or of another schema."""
        try:
            data = json.loads(text)
            if data.get("schema") != SCHEMA or data["status"] not in STATUSES:
                return None
            known = {name: data[name] for name in _FIELDS if name in data}
            return cls(**known)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None


_FIELDS = tuple(f.name for f in fields(StatusLine))


def _timestamp() -> str:
    seconds = time.time()
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds * 1000) % 1000:03d}Z"


def latest(lines: Iterable[StatusLine]) -> dict[str, StatusLine]:
    """Return the latest line of each video, by absolute path."""
    found: dict[str, StatusLine] = {}
    for line in lines:
        before = found.get(line.path)
        if before is None or line.finished >= before.finished:
            found[line.path] = line
    return found


class StatusLog(Protocol):
    """A log of status lines, open while the context lasts."""

    def __enter__(self) -> StatusLog: ...
    def __exit__(self, *error: object) -> None: ...
    def append(self, line: StatusLine) -> None: ...
    def lines(self) -> Iterator[StatusLine]:
        """Return all lines of all runs and shards."""


def open_log(storage: Storage, shard: Shard | None) -> StatusLog:
    """Open the log of the status lines in a storage."""
    if isinstance(storage, FolderStorage):
        return StatusFile(storage.folder, shard)
    return StatusObjects(storage)


class StatusFile:
    """A status file in the output folder, locked by one process at a time."""

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        name = _STATUS_FILE if shard is None else f"status-{shard.label}.jsonl"
        self.path = folder / name
        self._lock: BinaryIO | None = None
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        try:
            self._lock = open(self.path.with_name(f".{self.path.name}.lock"), "ab")
            held = self._take(self._lock)
        except OSError as error:
            self.__exit__()
            raise self._cannot(error) from error
        if not held:
            self.__exit__()
            raise UsageError(
                f"{self.path}: another batch is writing to it: wait for it, or choose another "
                "folder or --shard"
            )
        return self

    @staticmethod
    def _take(lock: BinaryIO) -> bool:
        try:
            return lock_file(lock, exclusive=True)
        except OSError:  # a network file system without locks
            return True

    def __exit__(self, *error: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def append(self, line: StatusLine) -> None:
        """Append one line and sync it.

        Raises:
            OutputError: the file cannot be written.
        """
        data = line.as_json().encode() + b"\n"
        try:
            if self._descriptor is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
                self._descriptor = os.open(self.path, flags, 0o666)
                data = self._line_break_if_incomplete() + data
            if os.write(self._descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._cannot(error) from error

    def _line_break_if_incomplete(self) -> bytes:
        assert self._descriptor is not None
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if size == 0:
            return b""
        os.lseek(self._descriptor, size - 1, os.SEEK_SET)
        return b"" if os.read(self._descriptor, 1) == b"\n" else b"\n"

    def lines(self) -> Iterator[StatusLine]:
        """Return the lines of all status files in the folder.

        Raises:
            OutputError: a status file cannot be read.
        """
        for path in sorted(self.path.parent.glob("status*.jsonl")):
            if not _STATUS_FILES.fullmatch(path.name) or not path.is_file():
                continue  # reading a device would not end
            try:
                with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                    yield from (line for text in file if (line := StatusLine.from_json(text)))
            except OSError as error:
                raise OutputError(f"{path}: cannot be read ({error.strerror})") from error

    def _cannot(self, error: OSError) -> OutputError:
        return OutputError(f"{self.path}: cannot be written ({error.strerror or error})")


class StatusObjects:
    """Status lines in an object store: one object per video, replaced when it is repeated."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def append(self, line: StatusLine) -> None:
        name = hashlib.sha256(os.fsencode(line.path)).hexdigest()[:40]
        self._storage.write(f"{_OBJECTS}/{name}.json", line.as_json().encode() + b"\n")

    def lines(self) -> Iterator[StatusLine]:
        for data in self._storage.read_folder(_OBJECTS):
            line = StatusLine.from_json(data)
            if line is not None:
                yield line


@dataclass(slots=True)
class Summary:
    """Counts of the videos of a batch.

    Attributes:
        num_done: videos with complete results, including those of earlier runs.
        num_partial: videos with partial results.
        num_failed: videos without a result.
        num_skipped: how many of all these an earlier run processed.
    """

    num_done: int = 0
    num_partial: int = 0
    num_failed: int = 0
    num_skipped: int = 0

    @classmethod
    def of(cls, lines: Iterable[StatusLine]) -> Summary:
        summary = cls()
        for line in lines:
            summary.count(line.status)
        return summary

    def count(self, status: str, *, skipped: bool = False) -> None:
        name = f"num_{status}"
        setattr(self, name, getattr(self, name) + 1)
        self.num_skipped += skipped

    @property
    def total(self) -> int:
        return self.num_done + self.num_partial + self.num_failed

    def describe(self) -> str:
        """Describe the counts: ``5 videos: 3 done, 1 partial, 1 failed (2 of them in an earlier
        run)``."""
        counts = {"done": self.num_done, "partial": self.num_partial, "failed": self.num_failed}
        parts = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        before = f" ({self.num_skipped} of them in an earlier run)" if self.num_skipped else ""
        return f"{plural(self.total, 'video')}{': ' if parts else ''}{parts}{before}"
