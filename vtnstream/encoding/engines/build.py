"""Build one engine: export, compile, load, compare with the uncompiled network, and time it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vtnstream.encoding.encoder import FrameEncoder
from vtnstream.encoding.engines.cache import EngineCache, EngineKey, hardware
from vtnstream.encoding.engines.measure import filled, seconds_of
from vtnstream.encoding.engines.state import Prepared
from vtnstream.encoding.runner import Runner
from vtnstream.encoding.worker_pool import WorkerPlan
from vtnstream.errors import UsageError
from vtnstream.models.compile.backend import EngineError, get_backend
from vtnstream.models.compile.child import compile_in_child
from vtnstream.preprocess.pipeline import pixels_of
from vtnstream.process_memory import trim
from vtnstream.progress import Progress

TOLERANCE = {"float32": 2e-3, "bfloat16": 5e-2, "float16": 1e-2}
"""Largest relative distance ``|engine - eager| / |eager|`` of a feature vector. Torch rounds
float32 convolutions on CUDA to 10 bits (TF32); compilers keep more digits of bfloat16 between
layers."""


@dataclass(frozen=True, slots=True)
class EngineBuilder:
    """Build engines of one encoder.

    Attributes:
        encoder: its network is compiled.
        worker_plan: the workers that will call the engine.
        cache: compiled engines on disk.
        progress: receives messages about compilation.
    """

    encoder: FrameEncoder
    worker_plan: WorkerPlan
    cache: EngineCache
    progress: Progress

    def key(self, backend: str, batch_size: int) -> EngineKey:
        """Return everything that an engine depends on."""
        encoder = self.encoder
        return EngineKey(
            backend=backend,
            versions={"torch": torch.__version__, **get_backend(backend).versions()},
            hardware=hardware(encoder.device),
            weights_sha256=encoder.weights_sha256,
            backbone=encoder.config.name,
            arguments={**encoder.config.key(), **encoder.shape.key()},
            preprocess=encoder.preprocess.key(),
            dtype=encoder.dtype,
            batch_size=batch_size,
            threads=self.worker_plan.threads,
        )

    def prepare(
        self, backend: str, batch_size: int, frames: Callable[[], NDArray[np.uint8]]
    ) -> Prepared:
        """Load the engine from the cache or compile it, and compare it with the uncompiled
        network.

        Args:
            backend: name of the backend.
            batch_size: samples per call.
            frames: returns real frames (n, h, w, 3) uint8.

        Raises:
            EngineError: the engine cannot be built or trusted, or its features differ.
        """
        compiler, encoder = get_backend(backend), self.encoder
        shown = frames()
        pixels = pixels_of(filled(shown, batch_size)).to(encoder.device)

        def make(folder: Path) -> dict[str, float]:
            return {"compile_seconds": self._compile(backend, pixels, folder)}

        key = self.key(backend, batch_size)
        waiting = f"another vtnstream process is compiling {encoder.config.name}, waiting"
        with self.cache.obtain(key, make, on_wait=lambda: self.progress.warn(waiting)) as record:
            engine = compiler.load(
                record.folder, encoder.network, encoder.device, self.worker_plan.workers
            )
        run = encoder.runner(batch_size, engine)
        difference = check(run, encoder, shown[:batch_size])
        facts = {**record.facts, "max_difference": float(f"{difference:.2g}")}
        if "frames_per_second" not in facts:
            facts |= self._compared(run, shown)
            self.cache.note(key, facts)
        trim()
        return Prepared(run, facts)

    def _compile(self, backend: str, pixels: torch.Tensor, folder: Path) -> float:
        name = self.encoder.config.name
        self.progress.start(f"compiling {name} ({backend})", total=None, unit="s")
        try:
            seconds = compile_in_child(
                backend,
                self.encoder.network,
                pixels,
                folder,
                threads=self.worker_plan.threads,
                on_wait=lambda seconds: self.progress.advance(int(seconds)),
            )
        finally:
            self.progress.finish()
        return round(seconds, 1)

    def _compared(self, run: Runner, frames: NDArray[np.uint8]) -> dict[str, float]:
        """Measure frames per second of one worker with and without the engine."""
        batch, plain = filled(frames, run.batch_size), self.encoder.runner(run.batch_size)
        seconds = {
            name: seconds_of(partial(one, batch), self.worker_plan, run.device, rounds=2)
            for name, one in (("frames_per_second", run), ("eager_frames_per_second", plain))
        }
        return {name: float(f"{run.batch_size / each:.4g}") for name, each in seconds.items()}


def check(run: Runner, encoder: FrameEncoder, frames: NDArray[np.uint8]) -> float:
    """Compare an engine with the uncompiled network on real frames (n, h, w, 3) uint8.

    Returns:
        The largest relative distance of a feature vector.

    Raises:
        EngineError: the distance exceeds :data:`TOLERANCE`, or is not finite.
    """
    expected = encoder.encode(frames)
    try:
        values = run(frames)
    except UsageError as error:  # not finite, unlike those of the uncompiled network
        raise EngineError(str(error)) from error
    if values.shape != expected.shape:
        raise EngineError(f"its features have the shape {values.shape}, not {expected.shape}")
    scale = np.maximum(np.linalg.norm(expected, axis=1), np.finfo(np.float32).tiny)
    difference = float((np.linalg.norm(values - expected, axis=1) / scale).max())
    allowed = TOLERANCE[encoder.dtype]
    if not difference <= allowed:
        raise EngineError(
            f"its features differ from the uncompiled network's by {difference:.1%}, more than "
            f"{allowed:.1%}"
        )
    return difference
