"""What filling the feature store needs of a frame encoder and of its engines.

:class:`vtnstream.encoding.encoder.FrameEncoder` and
:class:`vtnstream.encoding.engines.choose.Engines` compute with torch; others need not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import BackboneConfig, PreprocessConfig, RuntimeConfig
from vtnstream.encoding.clips import InputShape
from vtnstream.encoding.engines.state import Choice, EngineState, Prepared, Speed
from vtnstream.encoding.run_facts import ComputedOn, RuntimeFacts
from vtnstream.encoding.worker_pool import BatchEncoder, WorkerPlan
from vtnstream.progress import Progress

Frames = Callable[[], NDArray[np.uint8]]
"""Returns the first frames of a video, (n, h, w, 3) uint8; decodes them on the first call."""


class Encoder(Protocol):
    """Frames to features.

    Attributes:
        config: name and arguments of the backbone.
        preprocess: how frames are prepared for it.
        shape: the input of one call: a frame, a burst or a clip.
        dtype: the precision it computes in, never ``auto``.
        weights_sha256: hash of its weights.
        num_features: D.
    """

    config: BackboneConfig
    preprocess: PreprocessConfig
    shape: InputShape
    dtype: str
    weights_sha256: str
    num_features: int

    @property
    def device_type(self) -> str:
        """``cpu`` or ``cuda``."""
        ...

    @property
    def device_index(self) -> int | None:
        """Number of the GPU, None on a CPU."""
        ...

    @property
    def usual_batch_size(self) -> int:
        """Samples per call where nothing was measured."""
        ...

    @property
    def computed_on(self) -> ComputedOn:
        """Device, precision and shape, for a report."""
        ...

    @property
    def is_slow(self) -> bool:
        """Whether the device only emulates the precision."""
        ...

    def num_threads(self, runtime: RuntimeConfig) -> int:
        """Return the number of threads that compute on a CPU."""
        ...

    def share_threads(self, runtime: RuntimeConfig, state: EngineState) -> None:
        """Start threads that work for all videos, so that several threads may each extract one
        video with ``state`` at the same time."""
        ...

    def runner(self, batch_size: int) -> BatchEncoder:
        """Return what encodes batches without a compiler."""
        ...

    def engines(
        self, runtime: RuntimeConfig, progress: Progress, state: EngineState | None = None
    ) -> EncoderEngines:
        """Return what can run this encoder. ``state`` holds engines that were prepared before."""
        ...


class EncoderEngines(Protocol):
    """The ways to run one encoder.

    Attributes:
        runtime: backend, batch size, cache.
        progress: receives messages and warnings.
        state: what was prepared or refused before.
        worker_plan: batches that are encoded in parallel.
    """

    runtime: RuntimeConfig
    progress: Progress
    state: EngineState
    worker_plan: WorkerPlan

    @property
    def encoder(self) -> Encoder:
        """The encoder that is run."""
        ...

    def candidates(self) -> tuple[str, ...]:
        """Return the backends whose stored features satisfy the request."""
        ...

    def choose(self, num_frames: int | None, frames: Frames) -> Choice:
        """Choose the backend for a video without stored features."""
        ...

    def batch_size(self, num_frames: int | None, frames: Frames) -> int:
        """Return the tokens of a batch."""
        ...

    def inputs_per_call(self, batch_size: int) -> int:
        """Return the samples of a batch of ``batch_size`` tokens."""
        ...

    def prepare(self, choice: Choice, batch_size: int, frames: Frames) -> Prepared:
        """Return what runs a backend, checked.

        Raises:
            EngineError: it cannot be used.
        """
        ...

    def speed(self, backend: str, batch_size: int, frames: NDArray[np.uint8]) -> Speed:
        """Return the speed of a backend, measured on ``frames`` if it is not known."""
        ...

    def facts(self, choice: Choice, batch_size: int, prepared: Prepared | None) -> RuntimeFacts:
        """Return how features are computed, for the report."""
        ...

    def note_run(self, backend: str, num_frames: int, seconds: float) -> None:
        """Record the speed of a run for later choices."""
        ...
