"""Measure the uncompiled backbone on this machine once, and keep the result beside the engines."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.engines.cache import hardware
from vtnstream.encoding.worker_pool import WorkerPlan
from vtnstream.features.store import read_json, write_json

_LARGEST_BATCH = {"cpu": 16, "cuda": 256}
_WORTH = 1.05
"""A batch of twice the size must be faster by this factor, because it costs memory and latency."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Frames per second of one worker, and the best number of frames per call (None if only the
    default was tried)."""

    frames_per_second: float
    batch_size: int | None = None


def seconds_of(
    work: Callable[[], object], worker_plan: WorkerPlan, device: torch.device, rounds: int
) -> float:
    """Return the seconds of ``work`` in a worker's thread: the best of several rounds after a
    warm-up."""

    def timed() -> float:
        best = float("inf")
        for number in range(rounds + 1):
            began = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:
                best = min(best, time.perf_counter() - began)
        return best

    before = torch.get_num_threads()
    with ThreadPoolExecutor(
        1, initializer=torch.set_num_threads, initargs=(worker_plan.threads,)
    ) as pool:
        try:
            return pool.submit(timed).result()
        finally:
            torch.set_num_threads(before)


def measure_rate(
    encoder: FrameEncoder,
    worker_plan: WorkerPlan,
    frames: NDArray[np.uint8],
    size: int,
    rounds: int = 1,
) -> float:
    """Measure frames per second of one worker in batches of ``size``."""
    batch, run = filled(frames, size), encoder.runner(size)
    return size / seconds_of(lambda: run(batch), worker_plan, encoder.device, rounds)


def measure_batch_size(
    encoder: FrameEncoder, worker_plan: WorkerPlan, frames: NDArray[np.uint8]
) -> Measured:
    """Try growing batch sizes on real frames (n, h, w, 3) uint8, repeated as needed."""
    size = encoder.usual_batch_size
    best = Measured(measure_rate(encoder, worker_plan, frames, size, rounds=2), size)
    while 2 * size <= _LARGEST_BATCH[encoder.device.type]:
        size *= 2
        try:
            rate = measure_rate(encoder, worker_plan, frames, size, rounds=2)
        except torch.OutOfMemoryError:
            break
        if rate < _WORTH * best.frames_per_second:
            break
        assert best.batch_size is not None
        # The machine may have been busier during the first measurement.
        again = measure_rate(encoder, worker_plan, frames, best.batch_size, rounds=2)
        if rate < _WORTH * again:
            break
        best = Measured(rate, size)
    return best


def filled(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Repeat the given frames up to ``size`` frames."""
    return np.resize(frames, (size, *frames.shape[1:]))


class Measurements:
    """Stored measurements by network and machine, below the user's cache directory.

    Args:
        root: the user's cache directory.
        keep: False stores nothing new.
    """

    def __init__(self, root: Path, *, keep: bool = True) -> None:
        self.root = root / "engines" / "measured"
        self.keep = keep

    def get(self, encoder: FrameEncoder, worker_plan: WorkerPlan) -> Measured | None:
        """Return the measurement of a network on this machine, or None."""
        if not self.root.is_dir():
            return None
        known = read_json(self._path(encoder, worker_plan))
        return None if known is None else Measured(**known)

    def note(self, encoder: FrameEncoder, worker_plan: WorkerPlan, measured: Measured) -> Measured:
        """Store a measurement; a batch size that was found before is kept."""
        if self.keep:
            known = self.get(encoder, worker_plan)
            if known is not None and measured.batch_size is None:
                measured = replace(measured, batch_size=known.batch_size)
            self.root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.mkdir(exist_ok=True)
            write_json(self._path(encoder, worker_plan), asdict(measured))
        return measured

    def _path(self, encoder: FrameEncoder, worker_plan: WorkerPlan) -> Path:
        key: dict[str, Any] = {
            "backbone": encoder.config.name.partition(".")[0],  # the tag names weights
            "arguments": {**encoder.config.key(), **encoder.shape.key()},
            "size": [encoder.preprocess.size, encoder.preprocess.frame_width],
            "dtype": encoder.dtype,
            "hardware": hardware(encoder.device),
            "cores": os.cpu_count(),
            "worker_plan": {"workers": worker_plan.workers, "threads": worker_plan.threads},
            "torch": torch.__version__,
        }
        text = json.dumps(key, sort_keys=True, default=str)
        return self.root / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.json"
