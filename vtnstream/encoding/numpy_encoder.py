"""The frame encoder of a model in numpy; torch is not imported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from vtnstream.blas_threads import keep_one_blas_thread, one_blas_thread
from vtnstream.config import RuntimeConfig
from vtnstream.config.runtime import NUMPY
from vtnstream.encoding.clips import FRAMES
from vtnstream.encoding.engines.protocols import Frames
from vtnstream.encoding.engines.state import Choice, EngineState, Prepared, Speed
from vtnstream.encoding.run_facts import ComputedOn, RuntimeFacts
from vtnstream.encoding.worker_pool import BackboneThreads, WorkerPlan
from vtnstream.errors import UsageError
from vtnstream.machine import num_threads
from vtnstream.models.numpy_vtn.model import NumpyVTN
from vtnstream.progress import Progress
from vtnstream.types import FloatArray

DEVICE, DTYPE = "cpu", "float32"
_BATCH_SIZE = 32
"""Frames of a batch, two groups of :mod:`vtnstream.models.numpy_vtn.frame_network`. More frames a
call were no faster."""
_ROUNDS = 3


class NumpyRunner:
    """Calls the network with batches of frames."""

    def __init__(self, model: NumpyVTN) -> None:
        self._model = model

    def __call__(self, frames: NDArray[np.uint8]) -> FloatArray:
        """Encode at least one frame: (T, H, W, 3) uint8 to features (T, D) float32.

        Raises:
            UsageError: the features are not finite.
        """
        values = self._model.frames(frames)
        if not np.isfinite(values).all():
            raise UsageError(
                f"backbone {self._model.config.backbone.name} in {DTYPE} gives values that are not "
                "finite: check its weights"
            )
        return values

    @property
    def full_batch(self) -> int | None:
        """None: a smaller batch is not padded."""
        return None

    def may_join(self, frames: NDArray[np.uint8]) -> bool:
        """Nothing is joined, because nothing is padded."""
        return False

    @contextmanager
    def library_threads(self, number: int) -> Iterator[Callable[[], object]]:
        """Compute each batch in the thread of its worker, whatever ``number``."""
        with one_blas_thread():
            yield lambda: None


class NumpyEncoder:
    """The spatial half of a model in numpy, on the CPU in float32.

    Attributes:
        config, preprocess, shape, dtype, weights_sha256, num_features: see
            :class:`vtnstream.encoding.engines.protocols.Encoder`.
    """

    def __init__(self, model: NumpyVTN) -> None:
        self.config = model.config.backbone
        self.preprocess = model.config.preprocess
        self.shape = FRAMES
        self.dtype = DTYPE
        self.weights_sha256 = model.backbone_sha256
        self.num_features = model.num_features
        self._runner = NumpyRunner(model)

    @property
    def device_type(self) -> str:
        return DEVICE

    @property
    def device_index(self) -> int | None:
        return None

    @property
    def usual_batch_size(self) -> int:
        return _BATCH_SIZE

    @property
    def computed_on(self) -> ComputedOn:
        """Device, precision and shape, for a report."""
        return ComputedOn(DEVICE, DTYPE, FRAMES, numpy=np.__version__)

    @property
    def is_slow(self) -> bool:
        return False

    def num_threads(self, runtime: RuntimeConfig) -> int:
        """Return the threads of a run."""
        return num_threads(runtime.threads)

    def share_threads(self, runtime: RuntimeConfig, state: EngineState) -> None:
        """Start threads that work for all videos. numpy computes in one thread a call from now
        on."""
        keep_one_blas_thread()
        workers = WorkerPlan.of_cores(self.num_threads(runtime)).workers
        state.threads = BackboneThreads(workers, lambda: None)

    def runner(self, batch_size: int) -> NumpyRunner:
        """Return what encodes batches; ``batch_size`` is only that of torch's runners."""
        return self._runner

    def engines(
        self, runtime: RuntimeConfig, progress: Progress, state: EngineState | None = None
    ) -> NumpyEngines:
        """Return the one way to run this encoder."""
        return NumpyEngines(self, runtime, progress, EngineState() if state is None else state)


class NumpyEngines:
    """The one way to run a :class:`NumpyEncoder`; see
    :class:`vtnstream.encoding.engines.protocols.EncoderEngines`."""

    def __init__(
        self, encoder: NumpyEncoder, runtime: RuntimeConfig, progress: Progress, state: EngineState
    ) -> None:
        self.encoder, self.runtime, self.progress, self.state = encoder, runtime, progress, state
        self.worker_plan = WorkerPlan.of_cores(encoder.num_threads(runtime))

    def candidates(self) -> tuple[str, ...]:
        return (NUMPY,)

    def choose(self, num_frames: int | None, frames: Frames) -> Choice:
        asked = self.runtime.backend == NUMPY
        return Choice(NUMPY, "requested" if asked else "this model needs no torch")

    def batch_size(self, num_frames: int | None, frames: Frames) -> int:
        return self.runtime.batch_size or self.encoder.usual_batch_size

    def inputs_per_call(self, batch_size: int) -> int:
        return batch_size

    def prepare(self, choice: Choice, batch_size: int, frames: Frames) -> Prepared:
        return Prepared(self.encoder.runner(batch_size))

    def speed(self, backend: str, batch_size: int, frames: NDArray[np.uint8]) -> Speed:
        """Measure the frames per second of one worker: the best of several rounds."""
        batch = np.resize(frames, (batch_size, *frames.shape[1:]))
        run, best = self.encoder.runner(batch_size), float("inf")
        with one_blas_thread(), self.state.quiet():
            run(batch)  # makes the buffers
            for _ in range(_ROUNDS):
                began = time.perf_counter()
                run(batch)
                best = min(best, time.perf_counter() - began)
        return Speed(batch_size / best, 0.0)

    def facts(self, choice: Choice, batch_size: int, prepared: Prepared | None) -> RuntimeFacts:
        return RuntimeFacts(
            device=DEVICE,
            dtype=DTYPE,
            backend=choice.backend,
            reason=choice.reason,
            batch_size=batch_size,
            workers=self.worker_plan.workers,
        )

    def note_run(self, backend: str, num_frames: int, seconds: float) -> None:
        with self.state.lock:
            self.state.num_encoded += num_frames
