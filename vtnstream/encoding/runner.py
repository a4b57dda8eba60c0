"""Run an engine of torch over batches of frames.

On CUDA two threads with a stream each overlap copies with the backbone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vtnstream.encoding.worker_pool import WorkerPlan
from vtnstream.errors import UsageError
from vtnstream.models.compile.backend import Engine
from vtnstream.preprocess.pipeline import pixels_of
from vtnstream.types import FloatArray

_CUDA_WORKERS = 2
_MOST_TRIED = 8


def worker_plan(device: torch.device) -> WorkerPlan:
    """Return the plan for the torch threads that this process may use (``--threads``)."""
    plan = WorkerPlan.of_cores(torch.get_num_threads())
    return replace(plan, workers=_CUDA_WORKERS, threads=1) if device.type == "cuda" else plan


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
        self._joins: bool | None = None
        self._joining = threading.Lock()
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

    @property
    def full_batch(self) -> int | None:
        """Samples of a batch if a smaller one is padded; None if it is not."""
        return self.batch_size if self.fixed else None

    def may_join(self, frames: NDArray[np.uint8]) -> bool:
        """Return whether the features of a sample are the same, bit for bit, at each place of a
        batch and whatever other samples it holds.

        Layers do not mix samples, but a compiler could compute some rows in another order. It is
        tried once, on variants of ``frames``: up to eight of them alone, and at up to eight places
        of a full batch.
        """
        with self._joining:
            if self._joins is None:
                self._joins = self._rows_are_independent(frames)
            return self._joins

    def _rows_are_independent(self, frames: NDArray[np.uint8]) -> bool:
        size, tried = self.batch_size, min(self.batch_size, _MOST_TRIED)
        shown = np.stack(
            [np.roll(frames[i % len(frames)], i * frames.shape[2] // size, 1) for i in range(size)]
        )
        alone = np.concatenate([self._call(shown[i : i + 1]) for i in range(tried)])
        some = self._call(shown[: (size + 1) // 2])
        if not np.array_equal(some[:tried], alone[: len(some)]):
            return False
        for shift in sorted({size * i // tried for i in range(tried)}):
            values = np.roll(self._call(np.roll(shown, shift, 0)), -shift, 0)
            if not np.array_equal(values[:tried], alone):
                return False
        return True

    @contextmanager
    def library_threads(self, number: int) -> Iterator[Callable[[], object]]:
        """Limit torch to ``number`` threads for each worker. The number is per thread, but new
        threads begin with the last one that was set; it is restored."""
        before = torch.get_num_threads()
        try:
            yield partial(torch.set_num_threads, number)
        finally:
            torch.set_num_threads(before)

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
