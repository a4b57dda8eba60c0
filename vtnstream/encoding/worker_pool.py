"""Encode batches of frames in several threads. Independent of the library that encodes them.

On a CPU each thread works on its own batch with one thread of the library: no thread waits for
another at the end of a layer, the decoder gets its share of the processor, and the result does not
depend on the number of threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from vtnstream.process_memory import trim
from vtnstream.types import DecodeStats, FloatArray, FrameChunk, TokenTimes

MOST_WORKERS = 16
"""Largest number of threads with a batch each. On larger machines each gets several threads of the
library, so that memory stays bounded and a short video still uses all cores."""

_JOIN_SECONDS = 1.0
"""Longest time that the last frames of a video wait for those of other videos. All are short."""


class BatchEncoder(Protocol):
    """Encodes batches of frames. Several threads may call it at once."""

    def __call__(self, frames: Any) -> FloatArray:
        """Encode at least one sample: (T, H, W, 3) uint8 to features (T, D) float32.

        Raises:
            UsageError: the features are not finite.
        """
        ...

    @property
    def full_batch(self) -> int | None:
        """Samples of a batch if a smaller one is padded; None if it is not."""
        ...

    def may_join(self, frames: NDArray[np.uint8]) -> bool:
        """Return whether the features of a sample are the same, bit for bit, at each place of a
        batch and whatever other samples it holds.

        Args:
            frames: some of the samples to try this on.
        """
        ...

    def library_threads(self, number: int) -> AbstractContextManager[Callable[[], object]]:
        """Limit the threads of the library that computes to ``number`` for each worker while the
        context is open.

        Returns (when entered):
            a function that each worker calls first.
        """
        ...


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """How many batches are encoded in parallel, and with how many threads of the library each.

    Attributes:
        workers: number of batches.
        threads: threads of the library for each.
        decoders: number of decoders that may read one file in parallel while the backbone waits
            for frames.
    """

    workers: int
    threads: int
    decoders: int = field(default=1, compare=False)

    @classmethod
    def of_cores(cls, cores: int) -> WorkerPlan:
        """Return the plan for a CPU of which ``cores`` may be used: one decoder per core, up to
        the memory that decoded frames may take."""
        workers = min(cores, MOST_WORKERS)
        return cls(workers, cores // workers, workers)

    def rate(self, decode_seconds: float, backbone_seconds: float, device_type: str) -> float:
        """Return frames per second, from the seconds of a frame in the decoder and in one
        worker. On a CPU both share the cores."""
        if device_type == "cuda":
            return 1 / max(decode_seconds, backbone_seconds)
        shared = (decode_seconds + backbone_seconds) / self.workers
        return 1 / max(decode_seconds, shared)


class Encoded(NamedTuple):
    """Features (T, D) float32 of a batch, and the seconds that the engine took."""

    values: FloatArray
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class EncodedBatch:
    """A decoded batch with features (T, D) in place of its frames."""

    first_index: int
    values: FloatArray
    times: TokenTimes
    stats: DecodeStats


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The last frames of a video (T, H, W, 3) uint8, and their features to come."""

    frames: NDArray[np.uint8]
    future: Future[Encoded] = field(default_factory=Future)


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Frames of several videos that become one batch of an engine."""

    run: BatchEncoder
    parts: list[Part] = field(default_factory=list)

    @property
    def num_frames(self) -> int:
        return sum(len(part.frames) for part in self.parts)


class BackboneThreads:
    """Threads that call engines, for one video or for several at the same time.

    If an engine takes full batches only, the last frames of several videos are joined to one
    batch, as long as their features are the same, bit for bit, as in a padded batch
    (:meth:`BatchEncoder.may_join`).

    Args:
        workers: number of threads.
        begin: each thread calls it first.
        decoders: number of videos that may be read at the same time; None is one more than there
            are threads. Others wait, so that the memory of decoders stays bounded.
        joins: whether frames of several videos may be joined.
    """

    def __init__(
        self,
        workers: int,
        begin: Callable[[], object],
        *,
        decoders: int | None = None,
        joins: bool = True,
    ) -> None:
        self._pool = ThreadPoolExecutor(
            workers, thread_name_prefix="vtnstream-backbone", initializer=begin
        )
        self._state = threading.Condition()
        self._num_running = 0
        self._is_paused = False
        self._joins = joins
        self._decoders = threading.BoundedSemaphore(decoders or workers + 1)
        self._num_reading = 0
        self._waiting: dict[int, Joined] = {}

    def submit(self, run: BatchEncoder, frames: Any) -> Future[Encoded]:
        """Encode at least one sample in one of the threads."""
        size = run.full_batch if self._joins else None
        if size is None or len(frames) >= size or not isinstance(frames, np.ndarray):
            return self._pool.submit(self._work, run, frames)
        part = Part(frames)
        with self._state:
            joined = self._waiting.setdefault(id(run), Joined(run))
            if joined.num_frames + len(frames) > size:
                self._start(joined)
                joined = self._waiting.setdefault(id(run), Joined(run))
            joined.parts.append(part)
            if joined.num_frames == size or not self._num_reading:
                self._start(joined)
        return part.future

    def start_joined(self) -> None:
        """Encode the frames that wait for those of other videos."""
        with self._state:
            for joined in list(self._waiting.values()):
                self._start(joined)

    @contextmanager
    def reading(self) -> Iterator[Callable[[], None]]:
        """Wait until a video may be read. The function that is returned says that its last frames
        were added; otherwise the end of the context does."""
        with ExitStack() as stack:
            stack.enter_context(self._decoders)
            with self._state:
                self._num_reading += 1
            stack.callback(self._end_reading)
            yield stack.close

    def _end_reading(self) -> None:
        with self._state:
            self._num_reading -= 1
            if not self._num_reading:
                self.start_joined()

    def _start(self, joined: Joined) -> None:
        del self._waiting[id(joined.run)]
        self._pool.submit(self._work_joined, joined)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let no engine run while the context lasts, so that another one can be timed."""
        with self._state:
            self._is_paused = True
            self._state.wait_for(lambda: not self._num_running)
        try:
            yield
        finally:
            with self._state:
                self._is_paused = False
                self._state.notify_all()

    def close(self) -> None:
        """End the threads; work that has not begun is cancelled."""
        self._pool.shutdown(cancel_futures=True)

    def _work(self, run: BatchEncoder, frames: Any) -> Encoded:
        with self._running():
            began = time.perf_counter()
            return Encoded(run(frames), time.perf_counter() - began)

    def _work_joined(self, joined: Joined) -> None:
        """Encode frames of several videos. If that fails, each video is tried alone, so that only
        the cause fails."""
        run = joined.run
        parts = [part for part in joined.parts if part.future.set_running_or_notify_cancel()]
        if len(parts) > 1:
            frames = np.concatenate([part.frames for part in parts])
            try:
                with self._running():
                    may_join = run.may_join(frames)
                if may_join:
                    values, seconds = self._work(run, frames)
                    for part in parts:
                        own, values = values[: len(part.frames)], values[len(part.frames) :]
                        share = seconds * len(part.frames) / len(frames)
                        part.future.set_result(Encoded(own, share))
                    return
            except Exception:
                pass  # met again below, by the video that causes it
        for part in parts:
            try:
                part.future.set_result(self._work(run, part.frames))
            except Exception as error:
                part.future.set_exception(error)

    @contextmanager
    def _running(self) -> Iterator[None]:
        with self._state:
            self._state.wait_for(lambda: not self._is_paused)
            self._num_running += 1
        try:
            yield
        finally:
            with self._state:
                self._num_running -= 1
                self._state.notify_all()


class Encoding:
    """Encode the batches of one video in several threads and return the results in order. A
    context manager.

    Args:
        run: the engine.
        worker_plan: the number of threads.
        num_features: D.
        threads: threads that also work for other videos; None starts some that end with the
            context.

    Attributes:
        busy_seconds: seconds that the threads spent in the backbone, divided by their number.
    """

    def __init__(
        self,
        run: BatchEncoder,
        worker_plan: WorkerPlan,
        num_features: int,
        threads: BackboneThreads | None = None,
    ) -> None:
        self._run = run
        self._num_features = num_features
        self._plan = worker_plan
        self._shared = threads
        self._pending: deque[tuple[FrameChunk, Future[Encoded]]] = deque()
        self.busy_seconds = 0.0

    def __enter__(self) -> Encoding:
        with ExitStack() as stack:
            if self._shared is None:
                begin = stack.enter_context(self._run.library_threads(self._plan.threads))
                own = BackboneThreads(self._plan.workers, begin, joins=False)
                stack.callback(trim)  # frees the heaps of these threads; the next run has new ones
                stack.callback(own.close)
            self._threads = self._shared or own
            self._has_read = stack.enter_context(self._threads.reading())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with self._stack:
            for _, future in self._pending:  # there are some only after an error
                future.cancel()

    def results(self, batches: Iterator[FrameChunk]) -> Iterator[EncodedBatch]:
        """Encode ``batches``; at most twice as many batches as threads are in memory. If
        ``batches`` raises, the results of earlier batches are returned first.

        Raises:
            UsageError: the features are not finite.
        """
        pending = self._pending
        failure: Exception | None = None
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:  # earlier batches are still returned
                failure, batch = error, None
            if batch is None:
                self._has_read()
                break
            pending.append((batch, self._submit(batch)))
            del batch
            while pending and (len(pending) >= 2 * self._plan.workers or pending[0][1].done()):
                yield self._finished(*pending.popleft())
        while pending:
            yield self._finished(*pending.popleft(), _JOIN_SECONDS)
        if failure is not None:
            raise failure

    def _submit(self, batch: FrameChunk) -> Future[Encoded]:
        if len(batch.frames):
            return self._threads.submit(self._run, batch.frames)
        nothing: Future[Encoded] = Future()
        nothing.set_result(Encoded(np.empty((0, self._num_features), np.float32), 0.0))
        return nothing

    def _finished(
        self, batch: FrameChunk, future: Future[Encoded], patience: float = 0.0
    ) -> EncodedBatch:
        try:
            values, seconds = future.result(patience)
        except TimeoutError:
            self._threads.start_joined()
            values, seconds = future.result()
        self.busy_seconds += seconds / self._plan.workers
        return EncodedBatch(batch.first_index, batch.spread(values), batch.times, batch.stats)
