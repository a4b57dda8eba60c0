"""What passes between the parent and its workers: a task, and what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

DONE, PARTIAL, FAILED = "done", "partial", "failed"
STATUSES = (DONE, PARTIAL, FAILED)

CODES = {
    "ok": "complete",
    "partial": "a result, but not all of the video could be read",
    "input": "the name led to no video",
    "open": "the file cannot be opened, or is not a video",
    "no-video": "no video stream in it",
    "decode": "nothing useful could be decoded",
    "video": "the video cannot be used: it changed while it was read, for instance",
    "request": "what was asked for does not fit this video (a range beyond its end)",
    "format": "a format that was asked for cannot hold this result",
    "features": "stored features do not fit",
    "store": "features cannot be stored or read",
    "output": "a result cannot be written",
    "io": "another file cannot be read or written",
    "memory": "more memory than the limit",
    "timeout": "longer than --timeout",
    "crash": "the worker died",
    "internal": "a bug in vtnstream",
}
"""Every ``code`` of a status line, and what it means."""

PASSING = frozenset({"store", "output", "io"})
"""Failures of the surroundings, not of the video: a later run tries again by itself."""


@dataclass(frozen=True, slots=True)
class Task:
    """One video to do; its results are called ``name`` and the ending of their format."""

    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task.

    Attributes:
        path: the input, as it was named.
        status, code: of :data:`STATUSES` and :data:`CODES`.
        error: one line that names the input, where it failed.
        seconds: wall time, all attempts together.
        partial: ``reasons``, ``seconds_read`` and ``seconds_expected`` of a partial result.
        outputs: name (in the output folder) -> bytes.
        file: the video's identity when work on it began.
        warnings: one sentence each.
        traceback: for ``--debug``.
        attempts: how often it was tried.
    """

    path: str
    status: str
    code: str
    error: str | None = None
    seconds: float = 0.0
    partial: dict[str, Any] | None = None
    outputs: dict[str, int] = field(default_factory=dict)
    file: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    traceback: str | None = None
    attempts: int = 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Outcome:
        return cls(**{**data, "warnings": tuple(data["warnings"])})

    @classmethod
    def failure(cls, path: str, code: str, error: str, **facts: Any) -> Outcome:
        return cls(path, FAILED, code, error, **facts)
