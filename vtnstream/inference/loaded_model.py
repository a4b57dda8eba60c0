"""What :class:`vtnstream.analyzer.Analyzer` needs of a loaded model, in torch or in numpy."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from vtnstream.config import ModelConfig, RuntimeConfig, TimelineConfig
from vtnstream.encoding.engines.protocols import Encoder
from vtnstream.encoding.stored import OpenedFeatures
from vtnstream.inference.model_facts import ModelFacts
from vtnstream.inference.request import Request
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.progress import Progress
from vtnstream.scoring.analysis import Reading
from vtnstream.scoring.localization_plan import LocalizationPlan
from vtnstream.types import AttentionMap, FeatureSequence


class LoadedModel(Protocol):
    """A loaded model with its frame encoder.

    Attributes:
        config: of the model.
        weights_sha256: hash of all its weights.
        uses_all_cores: whether the temporal half computes in several threads.
    """

    config: ModelConfig
    weights_sha256: str
    uses_all_cores: bool

    @property
    def encoder(self) -> Encoder:
        """The frame encoder, for requests without clips."""
        ...

    @property
    def attention_way(self) -> str | None:
        """How the temporal encoder attends, for the report."""
        ...

    @property
    def temporal_backend(self) -> str | None:
        """What compiled the temporal encoder, for the report."""
        ...

    def encoder_for(self, localize: TimelineConfig | None, request: Request) -> Encoder:
        """Return the frame encoder for a request.

        Raises:
            UsageError: the model does not support the request.
        """
        ...

    def share_threads(self, runtime: RuntimeConfig) -> None:
        """Start threads that run the backbone for all videos; they end with the process."""
        ...

    def open(
        self,
        path: str | Path,
        request: Request,
        encoder: Encoder,
        runtime: RuntimeConfig,
        progress: Progress,
    ) -> AbstractContextManager[OpenedFeatures]:
        """Open the features of a video for a request; valid while the context is open.

        Raises:
            VtnstreamError: the video, the features or the range cannot be used.
        """
        ...

    def prepare(self, runtime: RuntimeConfig, progress: Progress) -> None:
        """Prepare the temporal encoder before the first video is read."""
        ...

    def read(
        self,
        features: FeatureSequence,
        plan: LocalizationPlan,
        *,
        output: SequenceOutput | None = None,
        whole: bool = False,
    ) -> Reading:
        """Run the temporal half; see :func:`vtnstream.scoring.analyze.read`."""
        ...

    def check_one_pass(self, what: str) -> None:
        """Check that the model reads a video in one pass.

        Raises:
            UsageError: it does not, so that it cannot do ``what``.
        """
        ...

    def attention_map(self, features: FeatureSequence) -> tuple[AttentionMap, SequenceOutput]:
        """Return the attention of [CLS]; see :func:`vtnstream.scoring.analyze.attention_map`."""
        ...

    def facts(self, runtime: RuntimeConfig, workers: int, environment: str) -> ModelFacts | None:
        """Return the facts with which stored results need no model; None if they cannot be
        used."""
        ...
