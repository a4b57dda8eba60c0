"""A loaded model in numpy: what the bundled model is, unless a request needs torch.

Nothing here imports torch, timm or transformers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from vtnstream.blas_threads import one_blas_thread
from vtnstream.config import RuntimeConfig, TimelineConfig
from vtnstream.config.runtime import NUMPY
from vtnstream.encoding.engines.protocols import Encoder
from vtnstream.encoding.engines.state import EngineState
from vtnstream.encoding.extract import extract_features
from vtnstream.encoding.numpy_encoder import DEVICE, DTYPE, NumpyEncoder
from vtnstream.encoding.stored import OpenedFeatures
from vtnstream.errors import UsageError
from vtnstream.features.shuffling import shuffled
from vtnstream.inference.feature_files import features_of_file
from vtnstream.inference.model_facts import ModelFacts, may_have_gpu, model_folder
from vtnstream.inference.request import Request, time_range
from vtnstream.localization.window_scores import SlidingScores, window_starts
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.models.numpy_vtn.model import NumpyVTN, load_numpy_vtn
from vtnstream.progress import Progress
from vtnstream.scoring.analysis import Reading
from vtnstream.scoring.checks import check_features, check_finite
from vtnstream.scoring.localization_plan import LocalizationPlan
from vtnstream.scoring.probabilities import class_probabilities
from vtnstream.types import AttentionMap, FeatureSequence, FloatArray
from vtnstream.video.local_copy import local_copy

_ATTENTION = "blocks"
"""How the temporal encoder attends, for the report; named as in
:func:`vtnstream.models.layers.sliding_window.implementation_for`."""


def wanted(runtime: RuntimeConfig) -> bool:
    """Return whether numpy may compute: by the settings of a run, on the CPU in float32.

    Raises:
        UsageError: numpy was requested with a setting that it does not have.
    """
    if runtime.backend == NUMPY:
        if runtime.dtype not in ("auto", DTYPE):
            raise UsageError(f"--backend numpy computes in {DTYPE}, not in {runtime.dtype}")
        if runtime.device not in ("auto", DEVICE):
            raise UsageError(f"--backend numpy runs on the CPU, not on --device {runtime.device}")
        return True
    on_cpu = runtime.device == DEVICE or (runtime.device == "auto" and not may_have_gpu())
    return runtime.backend == "auto" and runtime.dtype in ("auto", DTYPE) and on_cpu


class NumpyModel:
    """A :class:`~vtnstream.inference.loaded_model.LoadedModel` in numpy.

    Args:
        model: the model.
        scratch: folder for states that do not fit into memory.

    Attributes:
        config, weights_sha256: see :class:`~vtnstream.inference.loaded_model.LoadedModel`.
        encoder: frames to features.
        weights_bytes: bytes of all weights.
    """

    uses_all_cores = False

    def __init__(self, model: NumpyVTN, scratch: Path | None) -> None:
        self.config = model.config
        self.weights_sha256 = model.weights_sha256
        self.encoder = NumpyEncoder(model)
        self.weights_bytes = model.num_bytes
        self._model = model
        self._engines = EngineState()
        self._scratch = scratch

    @classmethod
    def of(
        cls, model: str | Path | None, runtime: RuntimeConfig, scratch: Path | None
    ) -> NumpyModel | None:
        """Load the model of a folder, or the bundled one for None; None if torch must run it.

        Raises:
            UsageError: numpy was requested and cannot run the model.
        """
        if not wanted(runtime):
            return None
        folder = model_folder(model)
        loaded = None if folder is None else load_numpy_vtn(folder)
        if loaded is not None:
            return cls(loaded, scratch)
        if runtime.backend == NUMPY:
            raise UsageError(
                f"--backend numpy: {model} is no model folder that numpy can run (the bundled "
                "model, or one of its layout): leave it out"
            )
        return None

    @property
    def attention_way(self) -> str | None:
        return _ATTENTION

    @property
    def temporal_backend(self) -> str | None:
        return None

    def encoder_for(self, localize: TimelineConfig | None, request: Request) -> Encoder:
        return self.encoder

    def share_threads(self, runtime: RuntimeConfig) -> None:
        self.encoder.share_threads(runtime, self._engines)

    @contextmanager
    def open(
        self,
        path: str | Path,
        request: Request,
        encoder: Encoder,
        runtime: RuntimeConfig,
        progress: Progress,
    ) -> Iterator[OpenedFeatures]:
        sampling = request.sampling or self.config.sampling
        with local_copy(path, progress, runtime.spool_limit_bytes) as place, ExitStack() as stack:
            span = time_range(place, request.start, request.end, request.stream)
            opened: OpenedFeatures
            if request.features is not None:
                opened = features_of_file(
                    place, request.features, encoder, sampling, span, request.stream
                )
            else:
                opened = stack.enter_context(
                    extract_features(
                        place,
                        encoder,
                        sampling,
                        span=span,
                        runtime=runtime,
                        stream=request.stream,
                        progress=progress,
                        engines=self._engines,
                    )
                )
            opened = opened.named(path, place)
            if request.shuffle is not None:
                features = shuffled(opened.features, request.shuffle)
                opened = dataclasses.replace(opened, features=features)
            yield opened

    def prepare(self, runtime: RuntimeConfig, progress: Progress) -> None:
        """Nothing is compiled."""

    def read(
        self,
        features: FeatureSequence,
        plan: LocalizationPlan,
        *,
        output: SequenceOutput | None = None,
        whole: bool = False,
    ) -> Reading:
        check_features(self.config, self._model.num_features, features)
        with one_blas_thread():
            if output is None:
                last = self.config.temporal.num_layers - 1
                output = self._model.encode_sequence(
                    features, dense=plan.dense, attention=(last,), scratch=self._scratch
                )
            check_finite(self.config, output)
            return Reading(output, self._windows(features, plan))

    def _windows(self, features: FeatureSequence, plan: LocalizationPlan) -> FloatArray | None:
        """Return the probabilities (N, K) of sliding windows through the class head, or None."""
        options, head = plan.options, self.config.head
        if not plan.sliding or options is None:
            return None
        count = len(features.times)
        window = min(options.num_window_tokens, count)
        starts = window_starts(count, window, min(options.num_stride_tokens, window))
        scores = SlidingScores(count, len(head.labels), window)
        for start, logits in self._model.encode_windows(features, starts, window):
            scores.add(start, class_probabilities(logits[None], head)[0])
        return scores.result()

    def check_one_pass(self, what: str) -> None:
        """Every model that numpy runs reads a video in one pass."""

    def attention_map(self, features: FeatureSequence) -> tuple[AttentionMap, SequenceOutput]:
        check_features(self.config, self._model.num_features, features)
        layers = range(self.config.temporal.num_layers)
        with one_blas_thread():
            output = self._model.encode_sequence(features, attention=layers, scratch=self._scratch)
        assert output.attention is not None
        return AttentionMap(output.attention, features.times), output

    def facts(self, runtime: RuntimeConfig, workers: int, environment: str) -> ModelFacts | None:
        return ModelFacts(
            config=self.config,
            weights_sha256=self.weights_sha256,
            backbone_sha256=self.encoder.weights_sha256,
            device=DEVICE,
            dtype=DTYPE,
            backends=(NUMPY,),
            workers=workers,
            attention=_ATTENTION,
            numpy=np.__version__,
            environment=environment,
        )
