"""What is chosen and prepared to encode frames; independent of the library that computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from vtnstream.encoding.worker_pool import BackboneThreads, BatchEncoder
from vtnstream.errors import EngineError


class SlowerError(EngineError):
    """The engine is correct and no faster than the uncompiled network."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Name of a backend and one clause that gives the reason.

    ``on_trial``: the uncompiled network replaces it if it turns out to be no faster.
    """

    backend: str
    reason: str
    on_trial: bool = False


@dataclass(frozen=True, slots=True)
class Speed:
    """Frames per second of one worker, and the seconds that building the engine still takes."""

    frames_per_second: float
    compile_seconds: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked runner with figures for the report: seconds of compiling, difference from the
    uncompiled network, frames per second of one worker with and without the engine."""

    run: BatchEncoder
    facts: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class EngineState:
    """Engines of one encoder that this process has prepared or refused.

    The owner of the encoder keeps the state from video to video, so that an engine is compared
    and timed once. Several threads may each extract one video with the same state.

    Attributes:
        ready: engines that equal the uncompiled network, by backend and batch size.
        refused: backends that cannot be used, with the reason.
        num_encoded: frames encoded so far.
        lock: held while an engine is chosen or prepared.
        threads: call the engines for all videos; None while each video has threads of its own.
        prepare_thread: called first in each thread that extracts videos.
        num_videos: videos that are being extracted.
    """

    ready: dict[tuple[str, int], Prepared] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    num_encoded: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    threads: BackboneThreads | None = None
    prepare_thread: Callable[[], object] = lambda: None
    num_videos: int = 0

    @contextmanager
    def extracting(self) -> Iterator[None]:
        """Count a video while it is extracted."""
        with self.lock:
            self.num_videos += 1
        try:
            yield
        finally:
            with self.lock:
                self.num_videos -= 1

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Let no engine run for other videos while the context lasts."""
        if self.threads is None:
            yield
            return
        with self.threads.paused():
            yield
