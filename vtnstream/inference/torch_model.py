"""A loaded model in torch with its device, precision and prepared engines."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from vtnstream.config import RuntimeConfig, TimelineConfig
from vtnstream.encoding.encoder import FrameEncoder, resolve_device
from vtnstream.encoding.engines.choose import candidates
from vtnstream.encoding.engines.protocols import Encoder
from vtnstream.encoding.engines.state import EngineState
from vtnstream.encoding.stored import OpenedFeatures
from vtnstream.errors import UsageError
from vtnstream.inference.model_facts import ModelFacts
from vtnstream.inference.opening import open_features
from vtnstream.inference.request import Request
from vtnstream.models.architectures import VideoModel, require_vtn
from vtnstream.models.io.checkpoint import load_model, weights_sha256
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.models.precision import TORCH_DTYPES
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vtn.compiled_encoder import choose_encoder
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.temporal import TemporalEncoder
from vtnstream.progress import Progress
from vtnstream.scoring.analysis import Reading
from vtnstream.scoring.analyze import attention_map, read
from vtnstream.scoring.clips import clip_layout
from vtnstream.scoring.localization_plan import LocalizationPlan
from vtnstream.types import AttentionMap, FeatureSequence


class TorchModel:
    """A :class:`~vtnstream.inference.loaded_model.LoadedModel` of any architecture.

    Args:
        model: a model folder, a name on the Hub, or a loaded model, which is put into evaluation
            mode on the runtime's device.
        runtime: device, dtype.
        scratch: folder for states that do not fit into memory.

    Attributes:
        model: the model.
        temporal: the model whose temporal encoder has the precision of the encoder.
        encoder: frames to features.

    Raises:
        ModelError: the model cannot be used.
        UsageError: the device is not available.
    """

    uses_all_cores = True

    def __init__(
        self, model: str | Path | VideoModel, runtime: RuntimeConfig, scratch: Path | None
    ) -> None:
        loaded = load_model(model) if isinstance(model, (str, Path)) else model
        self.model = loaded
        self.config = loaded.config
        self.model.eval().to(resolve_device(runtime.device))
        with ThreadPoolExecutor(1) as beside:  # hashing releases the interpreter's lock
            weights = beside.submit(weights_sha256, self.model)
            self.encoder = FrameEncoder.from_model(self.model, runtime)
        self.weights_sha256 = weights.result()
        self._engines = EngineState()
        self.temporal = loaded
        if isinstance(loaded, VTN):
            self.temporal = loaded.in_precision(TORCH_DTYPES[self.encoder.dtype])
        self._temporal_backend: str | None = None
        self._scratch = scratch

    def share_threads(self, runtime: RuntimeConfig) -> None:
        self.encoder.share_threads(runtime, self._engines)

    def open(
        self,
        path: str | Path,
        request: Request,
        encoder: Encoder,
        runtime: RuntimeConfig,
        progress: Progress,
    ) -> AbstractContextManager[OpenedFeatures]:
        assert isinstance(encoder, FrameEncoder)
        return open_features(path, self.model, encoder, request, runtime, progress, self._engines)

    def read(
        self,
        features: FeatureSequence,
        plan: LocalizationPlan,
        *,
        output: SequenceOutput | None = None,
        whole: bool = False,
    ) -> Reading:
        return read(
            self.temporal, features, plan, output=output, whole=whole, scratch=self._scratch
        )

    def check_one_pass(self, what: str) -> None:
        require_vtn(self.model, what)

    def attention_map(self, features: FeatureSequence) -> tuple[AttentionMap, SequenceOutput]:
        model = require_vtn(self.temporal, "attention")
        return attention_map(model, features, scratch=self._scratch)

    def facts(self, runtime: RuntimeConfig, workers: int, environment: str) -> ModelFacts | None:
        if not isinstance(self.model, VTN) or self.encoder.device.type != "cpu":
            return None
        return ModelFacts(
            config=self.config,
            weights_sha256=self.weights_sha256,
            backbone_sha256=self.encoder.weights_sha256,
            device=str(self.encoder.device),
            dtype=self.encoder.dtype,
            backends=candidates(runtime.backend, self.encoder.device.type),
            workers=workers,
            attention=self.attention_way,
            torch=torch.__version__,
            environment=environment,
        )

    def prepare(self, runtime: RuntimeConfig, progress: Progress) -> None:
        """Compile the temporal encoder on the first video, where ``--backend`` names a compiler and
        the model is on a GPU."""
        model = self.temporal
        if self._temporal_backend is None and isinstance(model, VTN) and model.cls_token.is_cuda:
            choice = choose_encoder(model, runtime.backend)
            self.temporal, self._temporal_backend = choice.model, choice.backend
            if choice.problem is not None:
                progress.warn(choice.problem)

    @property
    def attention_way(self) -> str | None:
        encoder = getattr(self.temporal, "temporal_encoder", None)
        return encoder.attention_way if isinstance(encoder, TemporalEncoder) else None

    @property
    def temporal_backend(self) -> str | None:
        return self._temporal_backend

    def encoder_for(self, localize: TimelineConfig | None, request: Request) -> FrameEncoder:
        """Return the frame encoder, with the clip layout of the request for models that read
        clips.

        Raises:
            UsageError: the model does not support the request.
        """
        if not isinstance(self.model, ViViT):
            return self.encoder
        layout = clip_layout(self.model, localize)
        if not self.model.vivit.reads_sequences and request.whole:
            raise UsageError(
                f"model {self.config.name} ({self.model.vivit.form}) reads clips, not whole "
                "videos: leave --whole out"
            )
        return self.encoder.with_hop(layout.hop) if self.encoder.shape.clip else self.encoder
