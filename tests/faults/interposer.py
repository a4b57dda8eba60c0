"""Faults at the boundary to the file system, inside a child process.

Every operation below the watched folders that changes the disk is numbered: opening for
writing, each write, fsync, rename, removal, new directories, times. At one number the fault
strikes: the process is killed as a power cut would, or the operation fails as a full or broken
disk makes it fail. A write that is struck has done half of its work.
"""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

KILL = "kill"
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MOVING = ("replace", "rename")
_CHANGING = (*_MOVING, "unlink", "remove", "mkdir", "rmdir", "truncate", "utime")
_REAL: dict[str, Callable[..., Any]] = {
    name: getattr(os, name) for name in (*_CHANGING, "write", "open", "fsync")
}
_REAL_OPEN = io.open


@dataclass(frozen=True, slots=True)
class Plan:
    """What to watch and where to strike.

    Attributes:
        folders: operations below these count.
        log: file that gets a line for each operation, before it is done.
        at: number of the operation to strike, from 0; None watches only.
        act: ``kill``, or the name of an error: ``ENOSPC``.
        lasting: the error stays from then on, as that of a full disk does.
    """

    folders: tuple[str, ...]
    log: str
    at: int | None = None
    act: str = KILL
    lasting: bool = False

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Plan:
        return cls(**{**data, "folders": tuple(data["folders"])})


@dataclass(frozen=True, slots=True)
class Operation:
    """A line of the log."""

    what: str
    path: str
    amount: int = 0

    @property
    def name(self) -> str:
        return f"{self.what} {os.path.basename(self.path)}"


def read_log(path: str | os.PathLike[str]) -> list[Operation]:
    """What a child has done, in order; ``encode`` lines say how many frames."""
    with open(path, encoding="utf-8") as file:
        return [Operation(*json.loads(line)) for line in file]


class Interposer:
    """Puts itself between this process and the file system. Only in a child that ends."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._folders = tuple(os.path.realpath(folder) for folder in plan.folders)
        self._count = 0
        self._log = _REAL["open"](plan.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def install(self) -> None:
        for name in _CHANGING:
            setattr(os, name, self._of_path(name))
        os.fsync = self._of_descriptor("fsync")  # type: ignore[assignment]
        os.open = self._os_open  # type: ignore[assignment]
        os.write = self._os_write  # type: ignore[assignment]
        builtins.open = io.open = self._open  # type: ignore[assignment]
        self._count_frames()

    def note(self, what: str, path: str, amount: int = 0) -> None:
        line = json.dumps([what, path, amount]) + "\n"
        _REAL["write"](self._log, line.encode())

    def strikes(self, what: str, path: Any, amount: int = 0) -> bool:
        """Count an operation; whether it is the one (or, where the fault lasts, after it)."""
        place = self._watched(path)
        if place is None:
            return False
        number, self._count = self._count, self._count + 1
        self.note(what, place, amount)
        if self._plan.at is None:
            return False
        return number == self._plan.at or (self._plan.lasting and number > self._plan.at)

    def strike(self, path: Any) -> None:
        if self._plan.act == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        number = getattr(errno, self._plan.act)
        raise OSError(number, os.strerror(number), path if isinstance(path, str) else None)

    def _watched(self, path: Any) -> str | None:
        try:
            if isinstance(path, int):
                path = os.readlink(f"/proc/self/fd/{path}")
            place = os.path.abspath(os.fsdecode(path))
        except (OSError, TypeError):
            return None
        return place if place.startswith(self._folders) else None

    # ---------------------------------------------------------------- what is interposed

    def _of_path(self, name: str) -> Callable[..., Any]:
        real = _REAL[name]

        def operation(path: Any, *arguments: Any, **options: Any) -> Any:
            if self.strikes(name, arguments[0] if name in _MOVING else path):
                self.strike(path)
            return real(path, *arguments, **options)

        return operation

    def _of_descriptor(self, name: str) -> Callable[[int], Any]:
        real = _REAL[name]

        def operation(descriptor: int) -> Any:
            if self.strikes(name, descriptor):
                self.strike(None)
            return real(descriptor)

        return operation

    def _os_open(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & _WRITING and self.strikes("open", path):
            self.strike(path)
        opened: int = _REAL["open"](path, flags, *arguments, **options)
        return opened

    def _os_write(self, descriptor: int, data: Any) -> int:
        return self.write(descriptor, data, lambda part: _REAL["write"](descriptor, part))

    def write(self, path: Any, data: Any, real: Callable[[Any], int]) -> int:
        """Two operations: before the first byte, and in the middle."""
        if self.strikes("write", path, len(data)):
            self.strike(path)
        if self.strikes("torn write", path, len(data)):
            real(memoryview(data)[: len(data) // 2])
            self.strike(path)
        return real(data)

    def _open(self, path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        changing = not isinstance(path, int) and any(letter in mode for letter in "wax+")
        opens_itself = options.get("opener") is not None  # through os.open
        if not changing or opens_itself or self._watched(path) is None:
            return _REAL_OPEN(path, mode, *arguments, **options)
        if self.strikes("open", path):
            self.strike(path)
        raw = _Watched(path, mode.replace("b", "").replace("t", ""))
        raw.interposer = self
        buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        if "b" in mode:
            return buffered
        kept = {k: options[k] for k in ("encoding", "errors", "newline") if k in options}
        return io.TextIOWrapper(buffered, **kept)

    def _count_frames(self) -> None:
        """How many frames went through the backbone is noted too."""
        from vtnstream.encoding.runner import Runner

        real, note = Runner.__call__, self.note

        def call(runner: Runner, frames: Any) -> Any:
            note("encode", "", len(frames))
            return real(runner, frames)

        Runner.__call__ = call  # type: ignore[method-assign]


class _Watched(io.FileIO):
    interposer: Interposer

    def write(self, data: Any) -> int:
        return self.interposer.write(self.name, data, super().write)


def disk_operations(log: Sequence[Operation]) -> list[Operation]:
    """Those of a log at which a fault can strike."""
    return [operation for operation in log if operation.what != "encode"]
