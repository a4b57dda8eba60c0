"""What a worker does with one video. Made inside the worker: only there torch is imported."""

from __future__ import annotations

import gc
import hashlib
import json
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vtnstream.batch.identity import file_identity
from vtnstream.batch.workers.outcome import DONE, PARTIAL, Outcome, Task
from vtnstream.errors import (
    FeatureError,
    NoVideoStreamError,
    OutputError,
    ReportError,
    StoreError,
    UsageError,
    VideoDecodeError,
    VideoError,
    VideoOpenError,
    concerns_all,
    naming,
    one_line,
)
from vtnstream.progress import Progress

if TYPE_CHECKING:
    from vtnstream.types import Partial

_ERROR_CODES: Sequence[tuple[type[Exception], str]] = (
    (VideoOpenError, "open"),
    (NoVideoStreamError, "no-video"),
    (VideoDecodeError, "decode"),
    (VideoError, "video"),
    (StoreError, "store"),
    (OutputError, "output"),
    (FeatureError, "features"),
    (ReportError, "format"),
    (UsageError, "request"),
    (MemoryError, "memory"),
    (OSError, "io"),
)
"""The first that fits gives the code."""

_KEY_DIGITS = 32


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What a worker tells when it is ready.

    Attributes:
        key: hash of everything that decides results: command, settings, model.
        about: one line for ``-v``.
        device: ``cpu``, ``cuda`` (the first of all) or ``cuda:N`` (this one was asked for).
        num_devices: devices of that kind.
        warnings: one sentence each.
    """

    key: str
    about: str
    device: str = "cpu"
    num_devices: int = 1
    warnings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EngineFacts:
        return cls(**{**data, "warnings": tuple(data["warnings"])})


@dataclass(frozen=True, slots=True)
class Result:
    """A video that is done: the files written for it, and whether they tell all of it."""

    files: Sequence[Path]
    partial: Partial | None = None
    warnings: Sequence[str] = ()


class Engine(Protocol):
    """Works on one video after the other."""

    facts: EngineFacts

    def run(self, task: Task, progress: Progress) -> Result:
        """Do one video and write its results.

        Raises:
            VtnstreamError: one line.
        """


MakeEngine = Callable[[], Engine]
"""Picklable: it is called in each worker."""


class Refused(Exception):
    """The request is wrong whatever the video; ends the batch."""


def attempt(engine: Engine, task: Task, progress: Progress) -> Outcome:
    """Do one video, whatever happens.

    Raises:
        Refused: no other video would fare better.
    """
    began = time.perf_counter()
    try:
        identity: dict[str, Any] | None = file_identity(task.path)
    except VideoOpenError:
        identity = None  # the engine says better what is wrong
    try:
        result = engine.run(task, progress)
        outputs = {file.name: file.stat().st_size for file in result.files}
    except Exception as error:
        if concerns_all(error, task.path):
            raise Refused(one_line(error)) from error
        return Outcome.failure(
            task.path,
            next((code for kind, code in _ERROR_CODES if isinstance(error, kind)), "internal"),
            naming(task.path, one_line(error)),
            seconds=time.perf_counter() - began,
            file=identity,
            traceback="".join(traceback.format_exception(error)),
        )
    finally:
        gc.collect()  # decoders hold reference cycles; thousands of files must stay flat
    return Outcome(
        task.path,
        status=DONE if result.partial is None else PARTIAL,
        code="ok" if result.partial is None else "partial",
        seconds=time.perf_counter() - began,
        partial=_seconds(result.partial),
        outputs=outputs,
        file=identity,
        warnings=tuple(result.warnings),
    )


def _seconds(partial: Partial | None) -> dict[str, Any] | None:
    if partial is None:
        return None
    expected = partial.seconds_expected
    return {
        "reasons": list(partial.reasons),
        "seconds_read": round(partial.seconds_read, 3),
        "seconds_expected": None if expected is None else round(expected, 3),
    }


def settings_key(settings: Mapping[str, Any]) -> str:
    """Hex name of settings: equal settings, equal names."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
