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

from vtnstream.process_memory import trim
from vtnstream.types import DecodeStats, FloatArray, FrameChunk, TokenTimes

MOST_WORKERS = 16
"""Largest number of threads with a batch each. On larger machines each gets several threads of the
library, so that memory stays bounded and a short video still uses all cores."""


class BatchEncoder(Protocol):
    """Encodes batches of frames. Several threads may call it at once."""

    def __call__(self, frames: Any) -> FloatArray:
        """Encode at least one sample: (T, H, W, 3) uint8 to features (T, D) float32.

        Raises:
            UsageError: the features are not finite.
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


class BackboneThreads:
    """Threads that call engines, for one video or for several at the same time.

    Args:
        workers: number of threads.
        begin: each thread calls it first.
    """

    def __init__(self, workers: int, begin: Callable[[], object]) -> None:
        self._pool = ThreadPoolExecutor(
            workers, thread_name_prefix="vtnstream-backbone", initializer=begin
        )
        self._state = threading.Condition()
        self._num_running = 0
        self._is_paused = False

    def submit(self, run: BatchEncoder, frames: Any) -> Future[Encoded]:
        """Encode at least one sample in one of the threads."""
        return self._pool.submit(self._work, run, frames)

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
        with self._state:
            self._state.wait_for(lambda: not self._is_paused)
            self._num_running += 1
        try:
            began = time.perf_counter()
            return Encoded(run(frames), time.perf_counter() - began)
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
                own = BackboneThreads(self._plan.workers, begin)
                stack.callback(trim)  # frees the heaps of these threads; the next run has new ones
                stack.callback(own.close)
            self._threads = self._shared or own
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
                failure = error
                break
            if batch is None:
                break
            pending.append((batch, self._submit(batch)))
            del batch
            while pending and (len(pending) >= 2 * self._plan.workers or pending[0][1].done()):
                yield self._finished(*pending.popleft())
        while pending:
            yield self._finished(*pending.popleft())
        if failure is not None:
            raise failure

    def _submit(self, batch: FrameChunk) -> Future[Encoded]:
        if len(batch.frames):
            return self._threads.submit(self._run, batch.frames)
        nothing: Future[Encoded] = Future()
        nothing.set_result(Encoded(np.empty((0, self._num_features), np.float32), 0.0))
        return nothing

    def _finished(self, batch: FrameChunk, future: Future[Encoded]) -> EncodedBatch:
        values, seconds = future.result()
        self.busy_seconds += seconds / self._plan.workers
        return EncodedBatch(batch.first_index, batch.spread(values), batch.times, batch.stats)
