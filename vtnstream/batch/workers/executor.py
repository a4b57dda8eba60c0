"""The interface of executors, which process single videos in a worker, where torch is imported."""

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

from vtnstream.batch.identity import file_stamps, identity_of
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
"""Exception class -> status code; the first match is used."""

_KEY_DIGITS = 32
_COLLECT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ExecutorInfo:
    """Information on an executor, which a worker sends when it is ready.

    Attributes:
        key: hash of everything that determines results: command, settings, model.
        about: one line for ``-v``.
        device: ``cpu``, ``cuda`` (chosen automatically) or ``cuda:N`` (requested).
        num_devices: number of devices of that kind.
        warnings: one sentence each.
        side_by_side: number of small videos that it processes at the same time, in threads.
    """

    key: str
    about: str
    device: str = "cpu"
    num_devices: int = 1
    warnings: tuple[str, ...] = ()
    side_by_side: int = 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ExecutorInfo:
        return cls(**{**data, "warnings": tuple(data["warnings"])})


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one video.

    Attributes:
        files: the written files.
        partial: why it is partial, if so.
        warnings: one sentence each.
        folder: the output folder, relative to which files are named; None if all files lie in it
            directly.
        blocks_sha256: hash of the sampled content of the video, if it was needed.
    """

    files: Sequence[Path]
    partial: Partial | None = None
    warnings: Sequence[str] = ()
    folder: Path | None = None
    blocks_sha256: str | None = None

    def name_of(self, file: Path) -> str:
        """Return the name of a file in the output folder, with ``/`` between folders."""
        return file.name if self.folder is None else file.relative_to(self.folder).as_posix()


class Executor(Protocol):
    """Processes videos: one after the other, or ``facts.side_by_side`` of them in threads."""

    facts: ExecutorInfo

    def run(self, task: Task, progress: Progress) -> Result:
        """Process one video and write its results.

        Raises:
            VtnstreamError: the video failed, or the request is wrong.
        """


MakeExecutor = Callable[[], Executor]
"""Makes the executor; called in each worker, so it must be picklable."""


class RequestRefused(Exception):
    """The request is wrong for every video; ends the batch."""


def attempt(executor: Executor, task: Task, progress: Progress) -> Outcome:
    """Process one video; exceptions become a failed outcome.

    Raises:
        RequestRefused: the request is wrong for every video.
    """
    began = time.perf_counter()
    try:
        stamps: dict[str, Any] | None = file_stamps(task.path)
    except VideoOpenError:
        stamps = None  # the executor reports the error
    try:
        result = executor.run(task, progress)
        outputs = {result.name_of(file): file.stat().st_size for file in result.files}
    except Exception as error:
        if concerns_all(error, task.path):
            raise RequestRefused(one_line(error)) from error
        return Outcome.failure(
            task.path,
            next((code for kind, code in _ERROR_CODES if isinstance(error, kind)), "internal"),
            naming(task.path, one_line(error)),
            seconds=time.perf_counter() - began,
            file=_identity(task.path, stamps),
            traceback="".join(traceback.format_exception(error)),
        )
    finally:
        _collect_garbage()
    return Outcome(
        task.path,
        status=DONE if result.partial is None else PARTIAL,
        code="ok" if result.partial is None else "partial",
        seconds=time.perf_counter() - began,
        partial=_seconds(result.partial),
        outputs=outputs,
        file=_identity(task.path, stamps, result.blocks_sha256),
        warnings=tuple(result.warnings),
    )


def _identity(
    path: str, stamps: dict[str, Any] | None, blocks_sha256: str | None = None
) -> dict[str, Any] | None:
    """Return the identity of a video whose processing has ended; None if it cannot be read."""
    try:
        return None if stamps is None else identity_of(path, stamps, blocks_sha256)
    except VideoOpenError:
        return None


_collected = [0.0]
"""Time of the last collection."""


def _collect_garbage() -> None:
    """Collect the reference cycles that decoders leave, which would fill memory over many files.

    A collection takes milliseconds, so that there is one a second and not one for each short video.
    """
    now = time.monotonic()
    if now - _collected[0] >= _COLLECT_SECONDS:
        _collected[0] = now
        gc.collect()


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
    """Return the hex digest of settings."""
    text = json.dumps(settings, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_DIGITS]
