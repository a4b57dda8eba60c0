"""The messages between the parent and its workers: tasks and outcomes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

DONE, PARTIAL, FAILED = "done", "partial", "failed"
STATUSES = (DONE, PARTIAL, FAILED)

CODES = {
    "ok": "complete",
    "partial": "there is a result, but part of the video could not be read",
    "input": "there is no video of this name",
    "open": "the file cannot be opened, or is not a video",
    "no-video": "the file has no video stream",
    "decode": "no usable frame could be decoded",
    "video": "the video cannot be used, for instance because it changed while it was read",
    "request": "the request does not fit this video, for instance a range after its end",
    "format": "a requested format cannot hold this result",
    "features": "stored features do not match the request",
    "store": "features cannot be stored or read",
    "output": "a result cannot be written",
    "io": "another file cannot be read or written",
    "memory": "the worker exceeded --memory-limit, or memory ran out",
    "timeout": "the video took longer than --timeout",
    "crash": "the worker crashed",
    "internal": "a bug in vtnstream",
}
"""Codes of status lines -> meaning."""

RETRYABLE = frozenset({"store", "output", "io"})
"""Codes of failures of the system rather than the video; a later run repeats these videos."""


@dataclass(frozen=True, slots=True)
class Task:
    """One video to process; its result files are called ``name`` plus the suffix of the format."""

    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a task.

    Attributes:
        path: the input as given by the user.
        status, code: of :data:`STATUSES` and :data:`CODES`.
        error: one line that names the input, or None unless it failed.
        seconds: wall time of all attempts.
        partial: ``reasons``, ``seconds_read`` and ``seconds_expected`` of a partial result.
        outputs: name in the output folder, with ``/`` between folders -> size in bytes.
        file: identity of the video when processing began.
        warnings: one sentence each.
        traceback: traceback for ``--debug``.
        attempts: number of attempts.
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
