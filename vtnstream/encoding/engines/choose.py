"""Choose the engine of one encoder, prepare it, and record the reason.

An engine is used only after its features of real frames equal those of the uncompiled network.
Otherwise the uncompiled network is used, with a warning and a note in the report.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import RuntimeConfig
from vtnstream.config.runtime import NUMPY, default_cache_dir
from vtnstream.encoding.encoder import FrameEncoder, default_batch_size
from vtnstream.encoding.engines.build import EngineBuilder
from vtnstream.encoding.engines.cache import EngineCache, EngineRecord
from vtnstream.encoding.engines.measure import (
    Measured,
    Measurements,
    measure_batch_size,
    measure_rate,
)
from vtnstream.encoding.engines.protocols import Frames
from vtnstream.encoding.engines.state import (
    Choice,
    EngineState,
    Prepared,
    SlowerError,
    Speed,
)
from vtnstream.encoding.run_facts import RuntimeFacts
from vtnstream.encoding.runner import worker_plan
from vtnstream.errors import UsageError
from vtnstream.models.compile.backend import EAGER, PREFERRED, EngineError, get_backend
from vtnstream.process_memory import trim
from vtnstream.progress import Progress
from vtnstream.wording import plural

AUTO = "auto"
FEW_FRAMES = 64
"""A run over fewer frames does not predict the speed of the next one."""
WORTH_MEASURING, WORTH_TRYING_BATCHES = 512, 4096
"""Numbers of remaining frames from which a measurement costs only a percent or two."""
_EXPECTED_GAIN = 1.25
"""Assumed speed-up by compilation on a CPU before it is measured: 1.0 (ViT-B) to 2.2
(MobileNetV3)."""
EXPECTED_COMPILE_SECONDS = 40.0
"""Assumed seconds of the first compilation on a machine."""
_FASTER = 1.02
_ENDLESS = 10**12


def candidates(backend: str, device_type: str) -> tuple[str, ...]:
    """Return the backends whose stored features satisfy a request for ``backend``."""
    return (backend,) if backend != AUTO else (*PREFERRED[device_type], EAGER)


class Engines:
    """The engines of one encoder.

    Args:
        encoder: its network is run.
        runtime: backend, batch size, cache.
        progress: receives messages about compilation, and warnings.
        state: engines that were prepared for this encoder before; None starts empty.

    Raises:
        UsageError: numpy was requested.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        runtime: RuntimeConfig,
        progress: Progress,
        state: EngineState | None = None,
    ) -> None:
        if runtime.backend == NUMPY:
            raise UsageError(
                "--backend numpy is for timeline, classify and what uses them, with the bundled "
                "model: leave it out"
            )
        self.encoder = encoder
        self.state = EngineState() if state is None else state
        self.runtime = runtime
        self.progress = progress
        self.worker_plan = worker_plan(encoder.device)
        root = runtime.cache_dir or default_cache_dir()
        self.cache = EngineCache(root, keep=runtime.use_cache)
        self.measurements = Measurements(root, keep=runtime.use_cache)
        self._builder = EngineBuilder(encoder, self.worker_plan, self.cache, progress)

    # ------------------------------------------------------------------------ choosing

    def candidates(self) -> tuple[str, ...]:
        """Return the backends whose stored features satisfy the request."""
        return candidates(self.runtime.backend, self.encoder.device.type)

    def choose(self, num_frames: int | None, frames: Frames) -> Choice:
        """Choose the backend for a video without stored features.

        Args:
            num_frames: frames still to encode; None if unknown.
            frames: returns frames for measurements.

        Raises:
            UsageError: the requested backend cannot run here.
        """
        with self.state.lock:
            return self._choose(num_frames, frames)

    def _choose(self, num_frames: int | None, frames: Frames) -> Choice:
        device, refused = self.encoder.device, self.state.refused
        if self.runtime.backend == EAGER:
            return Choice(EAGER, "requested")
        if self.runtime.backend in refused:
            return Choice(EAGER, refused[self.runtime.backend])
        if self.runtime.backend != AUTO:
            missing = get_backend(self.runtime.backend).missing(device)
            if missing:
                raise UsageError(f"--backend {self.runtime.backend}: {missing}")
            return Choice(self.runtime.backend, "requested")
        reasons = []
        for name in PREFERRED[device.type]:
            missing = refused.get(name) or get_backend(name).missing(device)
            if missing is None:
                if device.type == "cuda":
                    return Choice(name, "the fastest of what is installed")
                return self._choose_on_cpu(name, num_frames, frames)
            reasons.append(f"{name}: {missing}")
        return Choice(EAGER, "; ".join(reasons))

    def _is_first_and_short(self, num_frames: int) -> bool:
        """Return whether the frames repay no measurement, and nothing has been compiled, measured
        or refused before: the answer is then known without looking for an engine."""
        if num_frames >= WORTH_MEASURING or self.state.num_encoded:
            return False
        return not (self.cache.root.is_dir() or self.state.ready or self.state.refused)

    def _choose_on_cpu(self, name: str, num_frames: int | None, frames: Frames) -> Choice:
        """Decide whether to use a compiled engine on this CPU: it exists and is faster, or the
        frames to encode, earlier ones included, repay the compilation."""
        if num_frames is not None and self._is_first_and_short(num_frames):
            return Choice(EAGER, _does_not_repay(num_frames))
        batch_size = self.inputs_per_call(self.batch_size(num_frames, frames))
        if (name, batch_size) in self.state.ready:
            return Choice(name, "in use already")
        record = self._record(name, batch_size)
        if record is not None:
            return _by_facts(name, record.facts)
        if num_frames is None:
            return Choice(EAGER, "the number of frames to come is unknown")
        num_frames += self.state.num_encoded
        measured = self.measurements.get(self.encoder, self.worker_plan)
        if measured is None and num_frames < WORTH_MEASURING:
            return Choice(EAGER, _does_not_repay(num_frames))
        if measured is None:
            shown = frames()
            with self.state.quiet():
                rate = measure_rate(self.encoder, self.worker_plan, shown, batch_size)
            measured = self.measurements.note(self.encoder, self.worker_plan, Measured(rate))
        seconds = num_frames / (measured.frames_per_second * self.worker_plan.workers)
        compiling = self.cache.mean_fact("compile_seconds", name) or EXPECTED_COMPILE_SECONDS
        taken = f"{plural(num_frames, 'frame takes', 'frames take')} {seconds:.0f} s"
        sums = f"{taken}, compiling about {compiling:.0f} s"
        if seconds * (1 - 1 / _EXPECTED_GAIN) < compiling:
            return Choice(EAGER, f"{name} would not repay its making ({sums})")
        return Choice(name, f"it repays its making ({sums})", on_trial=True)

    def batch_size(self, num_frames: int | None, frames: Frames) -> int:
        """Return the tokens of a batch: the requested number, the best one measured on this
        machine, or for a long video the best one measured now."""
        with self.state.lock:
            return self._batch_size(num_frames, frames)

    def _batch_size(self, num_frames: int | None, frames: Frames) -> int:
        encoder, shape = self.encoder, self.encoder.shape
        if self.runtime.batch_size is not None:
            return max(1, self.runtime.batch_size // shape.burst.frames)
        if shape.clip:
            return default_batch_size(encoder.device)
        known = self.measurements.get(self.encoder, self.worker_plan)
        if known is None or known.batch_size is None:
            if (num_frames or 0) < WORTH_TRYING_BATCHES:
                return encoder.usual_batch_size
            shown = frames()
            with self.state.quiet():
                known = measure_batch_size(encoder, self.worker_plan, shown)
            self.measurements.note(encoder, self.worker_plan, known)
        assert known.batch_size is not None
        return known.batch_size

    def inputs_per_call(self, batch_size: int) -> int:
        """Return the samples of a batch of ``batch_size`` tokens: each token is a sample, or a
        clip is several."""
        return max(1, batch_size // max(1, self.encoder.shape.clip))

    def make_best(self, frames: Frames) -> Choice:
        """Build the engine that ``auto`` uses for the longest videos, so that short videos find
        it.

        Args:
            frames: returns the frames it is measured and compared on.
        """
        choice = self.choose(_ENDLESS, frames)
        try:
            self.prepare(choice, self.inputs_per_call(self.batch_size(_ENDLESS, frames)), frames)
        except EngineError as error:
            self.state.refused[choice.backend] = str(error)
            return self.make_best(frames)
        return choice

    def speed(self, backend: str, batch_size: int, frames: NDArray[np.uint8]) -> Speed:
        """Return the speed of a backend before its engine is built, as measured before, or else
        estimated from that of the uncompiled network, which is measured now.

        Args:
            backend: its name.
            batch_size: samples per call.
            frames: samples to measure on.
        """
        gain, seconds = 1.0, 0.0
        known = self.measurements.get(self.encoder, self.worker_plan)
        rate = known.frames_per_second if known else None
        if backend != EAGER:
            record = self._record(backend, batch_size)
            rate, gain = record.facts.get("frames_per_second") if record else None, _EXPECTED_GAIN
            if record is None:
                seconds = self.cache.mean_fact("compile_seconds", backend) or (
                    EXPECTED_COMPILE_SECONDS
                )
        if rate is None:
            rate = gain * measure_rate(self.encoder, self.worker_plan, frames, batch_size)
        return Speed(rate, seconds)

    def note_run(self, backend: str, num_frames: int, seconds: float) -> None:
        """Record the speed of a run of the uncompiled network for later choices.

        Args:
            backend: the backend that ran.
            num_frames: encoded frames.
            seconds: seconds of each worker.
        """
        with self.state.lock:
            self.state.num_encoded += num_frames
            if backend == EAGER and num_frames >= FEW_FRAMES:
                rate = num_frames / (seconds * self.worker_plan.workers)
                self.measurements.note(self.encoder, self.worker_plan, Measured(rate))

    # ------------------------------------------------------------------------- making

    def prepare(self, choice: Choice, batch_size: int, frames: Frames) -> Prepared:
        """Return the runner of a backend: from this process, from the cache, or compiled now.

        Args:
            choice: result of :meth:`choose`.
            batch_size: samples per call.
            frames: returns the frames on which the engine is compared.

        Raises:
            EngineError: the engine cannot be built or trusted, or its features differ.
            SlowerError: the engine was on trial, and is no faster.
        """
        if choice.backend == EAGER:
            return Prepared(self.encoder.runner(batch_size))
        with self.state.lock:
            known: Prepared | None = self.state.ready.get((choice.backend, batch_size))
            if known is None:
                with self.state.quiet():
                    known = self._made(choice, batch_size, frames)
                self.state.ready[choice.backend, batch_size] = known
            return known

    def _made(self, choice: Choice, batch_size: int, frames: Frames) -> Prepared:
        made = self._builder.prepare(choice.backend, batch_size, frames)
        measured = _by_facts(choice.backend, made.facts)
        if choice.on_trial and measured.backend == EAGER:
            del made  # frees the second copy of the weights
            trim()
            raise SlowerError(measured.reason)
        return made

    def _record(self, backend: str, batch_size: int) -> EngineRecord | None:
        try:
            return self.cache.find(self._builder.key(backend, batch_size))
        except EngineError as error:
            self.progress.warn(str(error))
            return None

    def facts(self, choice: Choice, batch_size: int, prepared: Prepared | None) -> RuntimeFacts:
        """Return how features are computed, for the report."""
        return RuntimeFacts(
            device=str(self.encoder.device),
            dtype=self.encoder.dtype,
            backend=choice.backend,
            reason=choice.reason,
            batch_size=batch_size,
            workers=self.worker_plan.workers,
            engine=prepared.facts if prepared else {},
        )


def _does_not_repay(num_frames: int) -> str:
    return f"{plural(num_frames, 'frame does', 'frames do')} not repay compiling"


def _by_facts(name: str, facts: dict[str, float]) -> Choice:
    """Choose engine or uncompiled network by the measured speed of both."""
    ours, plain = facts.get("frames_per_second"), facts.get("eager_frames_per_second")
    if ours is None or plain is None:
        return Choice(name, "compiled before")
    rates = f"{ours:g} frames/s a core, {plain:g} without"
    if ours < _FASTER * plain:
        return Choice(EAGER, f"{name} is no faster here ({rates})")
    return Choice(name, f"it is faster here ({rates})")
