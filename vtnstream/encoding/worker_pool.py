"""Encode batches of frames in several threads. Independent of the library that encodes them.

On a CPU each thread works on its own batch with one thread of the library: no thread waits for
another at the end of a layer, the decoder gets its share of the processor, and the result does not
depend on the number of threads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

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


@dataclass(frozen=True, slots=True, eq=False)
class EncodedBatch:
    """A decoded batch with features (T, D) in place of its frames."""

    first_index: int
    values: FloatArray
    times: TokenTimes
    stats: DecodeStats


class Encoding:
    """Encode batches in several workers and return the results in order. A context manager.

    Args:
        run: the engine.
        worker_plan: the number of workers.
        num_features: D.

    Attributes:
        busy_seconds: seconds that the workers spent in the backbone, divided by their number.
    """

    def __init__(self, run: BatchEncoder, worker_plan: WorkerPlan, num_features: int) -> None:
        self._run = run
        self._num_features = num_features
        self._team = worker_plan
        self.busy_seconds = 0.0

    def __enter__(self) -> Encoding:
        with ExitStack() as stack:
            first = stack.enter_context(self._run.library_threads(self._team.threads))
            self._pool = ThreadPoolExecutor(
                self._team.workers, thread_name_prefix="vtnstream-backbone", initializer=first
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        with self._stack:
            self._pool.shutdown(cancel_futures=True)
        trim()  # frees the heaps of these threads; the next run has new ones

    def results(self, batches: Iterator[FrameChunk]) -> Iterator[EncodedBatch]:
        """Encode ``batches``; at most twice as many batches as workers are in memory. If
        ``batches`` raises, the results of earlier batches are returned first.

        Raises:
            UsageError: the features are not finite.
        """
        pending: deque[tuple[FrameChunk, Future[tuple[FloatArray, float]]]] = deque()
        failure: Exception | None = None
        while True:
            try:
                batch = next(batches, None)
            except Exception as error:  # earlier batches are still returned
                failure = error
                break
            if batch is None:
                break
            pending.append((batch, self._pool.submit(self._work, batch.frames)))
            del batch
            while pending and (len(pending) >= 2 * self._team.workers or pending[0][1].done()):
                yield self._finished(*pending.popleft())
        while pending:
            yield self._finished(*pending.popleft())
        if failure is not None:
            raise failure

    def _work(self, frames: Any) -> tuple[FloatArray, float]:
        began = time.perf_counter()
        values = self._run(frames) if len(frames) else np.empty((0, self._num_features), np.float32)
        return values, time.perf_counter() - began

    def _finished(
        self, batch: FrameChunk, future: Future[tuple[FloatArray, float]]
    ) -> EncodedBatch:
        values, seconds = future.result()
        self.busy_seconds += seconds / self._team.workers
        return EncodedBatch(batch.first_index, batch.spread(values), batch.times, batch.stats)
