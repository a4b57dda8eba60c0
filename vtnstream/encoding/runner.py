"""Run an engine over batches of frames in several threads.

On a CPU each thread works on its own batch with one torch thread: no thread waits for another at
the end of a layer, the decoder gets its share of the processor, and the result does not depend
on the number of threads. On CUDA two threads with a stream each overlap copies with the
backbone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtnstream.errors import UsageError
from vtnstream.models.compile.backend import Engine
from vtnstream.preprocess.pipeline import pixels_of
from vtnstream.process_memory import trim
from vtnstream.types import DecodeStats, FloatArray, FrameChunk, TokenTimes

MOST_WORKERS = 16
"""Largest number of threads with a batch each. On larger machines each gets several torch
threads, so that memory stays bounded and a short video still uses all cores."""
_CUDA_WORKERS = 2


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """How many batches are encoded in parallel, and with how many torch threads each."""

    workers: int
    threads: int

    @property
    def decoders(self) -> int:
        """Number of decoders that may read one file in parallel while the backbone waits for
        frames: one per core, up to the memory that decoded frames may take."""
        return min(torch.get_num_threads(), MOST_WORKERS)

    @classmethod
    def of(cls, device: torch.device) -> WorkerPlan:
        """Return the plan for the torch threads that this process may use (``--threads``)."""
        if device.type == "cuda":
            return cls(_CUDA_WORKERS, 1)
        cores = torch.get_num_threads()
        workers = min(cores, MOST_WORKERS)
        return cls(workers, cores // workers)

    def rate(self, decode_seconds: float, backbone_seconds: float, device: torch.device) -> float:
        """Return frames per second, from the seconds of a frame in the decoder and in one
        worker. On a CPU both share the cores."""
        if device.type == "cuda":
            return 1 / max(decode_seconds, backbone_seconds)
        shared = (decode_seconds + backbone_seconds) / self.workers
        return 1 / max(decode_seconds, shared)


class Runner:
    """Call one engine with batches of any size.

    Args:
        engine: the network, or its compiled form.
        device: the device of the engine.
        batch_size: samples per call.
        fixed: the engine accepts full batches only: a smaller batch is padded, and the padding is
            removed from the result. Rows do not depend on each other.
        name: backbone and precision, for messages.
    """

    def __init__(
        self, engine: Engine, device: torch.device, batch_size: int, *, fixed: bool, name: str
    ) -> None:
        self.engine = engine
        self.device = device
        self.batch_size = batch_size
        self.fixed = fixed
        self._name = name
        self._own = threading.local()
        if device.type == "cuda":
            # The weights were copied in another stream than those that will use them.
            torch.cuda.synchronize(device)

    def __call__(self, frames: NDArray[np.uint8] | Tensor) -> FloatArray:
        """Encode at least one sample.

        Args:
            frames: (T, H, W, 3) uint8 on the host, or a tensor on the engine's device.

        Returns:
            Features (T, D) float32.

        Raises:
            UsageError: the features are not finite.
        """
        size = self.batch_size
        parts = [self._call(frames[i : i + size]) for i in range(0, len(frames), size)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _call(self, frames: NDArray[np.uint8] | Tensor) -> FloatArray:
        pixels = frames if isinstance(frames, Tensor) else pixels_of(frames)
        with torch.inference_mode():
            if self.device.type == "cuda":
                features = self._on_cuda(pixels)
            else:
                features = self.engine(self._filled(pixels))
        values = np.ascontiguousarray(features[: len(frames)].numpy(), np.float32)
        if not np.isfinite(values).all():
            raise UsageError(
                f"backbone {self._name} gives values that are not finite: use --dtype float32, "
                "or check its weights"
            )
        return values

    def _on_cuda(self, pixels: Tensor) -> Tensor:
        """Encode in the stream of this thread, through page-locked memory, so that the copies of
        one thread overlap with the backbone of the other."""
        own = self._own
        if not hasattr(own, "stream"):
            own.stream, own.pinned = torch.cuda.Stream(self.device), None  # type: ignore[no-untyped-call]
        with torch.cuda.stream(own.stream):
            if pixels.is_cuda:
                # It comes from another stream; this keeps its memory until this stream is done.
                pixels.record_stream(own.stream)
            else:
                pixels = self._pinned(pixels).to(self.device, non_blocking=True)
            features = self.engine(self._filled(pixels))
            # Waits for this stream only; afterwards the page-locked memory can be reused.
            return features.cpu()

    def _pinned(self, pixels: Tensor) -> Tensor:
        """Copy to page-locked memory, which the next batch of this thread overwrites."""
        own = self._own
        if own.pinned is None or own.pinned.shape[1:] != pixels.shape[1:]:
            shape = (self.batch_size, *pixels.shape[1:])
            own.pinned = torch.empty(shape, dtype=pixels.dtype, pin_memory=True)
        pinned: Tensor = own.pinned[: len(pixels)].copy_(pixels)
        return pinned

    def _filled(self, pixels: Tensor) -> Tensor:
        """Pad to the number of samples that the engine accepts."""
        if not self.fixed or len(pixels) >= self.batch_size:
            return pixels
        rest = pixels.new_zeros(self.batch_size - len(pixels), *pixels.shape[1:])
        return torch.cat([pixels, rest])


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

    def __init__(self, run: Runner, worker_plan: WorkerPlan, num_features: int) -> None:
        self._run = run
        self._num_features = num_features
        self._team = worker_plan
        self.busy_seconds = 0.0

    def __enter__(self) -> Encoding:
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(
            self._team.workers,
            thread_name_prefix="vtnstream-backbone",
            initializer=torch.set_num_threads,
            initargs=(self._team.threads,),
        )
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        # The number is per thread, but new threads begin with the last one that was set.
        torch.set_num_threads(self._threads)
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

    def _work(self, frames: NDArray[np.uint8] | Tensor) -> tuple[FloatArray, float]:
        began = time.perf_counter()
        values = self._run(frames) if len(frames) else np.empty((0, self._num_features), np.float32)
        return values, time.perf_counter() - began

    def _finished(
        self, batch: FrameChunk, future: Future[tuple[FloatArray, float]]
    ) -> EncodedBatch:
        values, seconds = future.result()
        self.busy_seconds += seconds / self._team.workers
        return EncodedBatch(batch.first_index, batch.spread(values), batch.times, batch.stats)
