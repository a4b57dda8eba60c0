"""What the uncompiled backbone takes on this machine: measured once, kept with the engines."""

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
from vtnstream.encoding.runner import WorkerPlan
from vtnstream.features.store import read_json, write_json

_LARGEST_BATCH = {"cpu": 16, "cuda": 256}
_WORTH = 1.05
"""A batch twice as large must be faster by this factor: it costs memory and waiting."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Frames a second of one worker, and the best number of frames a backbone call (None
    where no other than the default was tried)."""

    frames_per_second: float
    batch_size: int | None = None


def seconds_of(
    work: Callable[[], object], worker_plan: WorkerPlan, device: torch.device, rounds: int
) -> float:
    """Seconds that ``work`` takes in a worker's thread, the best of some rounds after one
    that is not counted."""

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
    """Frames a second of one worker in batches of ``size``."""
    batch, run = filled(frames, size), encoder.runner(size)
    return size / seconds_of(lambda: run(batch), worker_plan, encoder.device, rounds)


def measure_batch_size(
    encoder: FrameEncoder, worker_plan: WorkerPlan, frames: NDArray[np.uint8]
) -> Measured:
    """Try batches of growing size on real frames (n, h, w, 3), repeated as needed."""
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
        # Perhaps the machine was only busier before.
        again = measure_rate(encoder, worker_plan, frames, best.batch_size, rounds=2)
        if rate < _WORTH * again:
            break
        best = Measured(rate, size)
    return best


def filled(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """``size`` frames: the given ones, again and again."""
    return np.resize(frames, (size, *frames.shape[1:]))


class Measurements:
    """Results of :func:`measure` below the user's cache directory, by network and machine.

    Args:
        root: the user's cache directory.
        keep: False reads and writes nothing new.
    """

    def __init__(self, root: Path, *, keep: bool = True) -> None:
        self.root = root / "engines" / "measured"
        self.keep = keep

    def get(self, encoder: FrameEncoder, worker_plan: WorkerPlan) -> Measured | None:
        """What is known of a network here."""
        known = read_json(self._path(encoder, worker_plan))
        return None if known is None else Measured(**known)

    def note(self, encoder: FrameEncoder, worker_plan: WorkerPlan, measured: Measured) -> Measured:
        """Remember it for the next run; a batch size once found stays."""
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
            "worker_plan": asdict(worker_plan),
            "torch": torch.__version__,
        }
        text = json.dumps(key, sort_keys=True, default=str)
        return self.root / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.json"
