"""Load a model once and analyse many videos with it."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vtnstream.config import ModelConfig, RuntimeConfig, TimelineConfig
from vtnstream.config.shipped import BUNDLED_MODEL, bundled_model
from vtnstream.config.summary import SummaryConfig
from vtnstream.encoding.engines.protocols import Encoder
from vtnstream.encoding.stored import OpenedFeatures
from vtnstream.errors import UsageError
from vtnstream.inference.loaded_model import LoadedModel
from vtnstream.inference.model_facts import FactsFile
from vtnstream.inference.model_loader import ModelLoader
from vtnstream.inference.report import about_model, report_of
from vtnstream.inference.request import Request
from vtnstream.inference.stored_answers import keep_reading
from vtnstream.inference.summarizing import summarized
from vtnstream.localization.informative import Candidate, candidate_spans
from vtnstream.progress import NullProgress, Progress
from vtnstream.scoring.analysis import Analysis, Reading, analysis_of, timelines
from vtnstream.scoring.checks import check_attention
from vtnstream.scoring.localization_plan import LocalizationPlan, knows_styles
from vtnstream.transport.feed import Feed
from vtnstream.types import AttentionMap, FeatureSequence, Report

if TYPE_CHECKING:
    from vtnstream.inference.follow import Follower
    from vtnstream.models.architectures import VideoModel

_BLOCK = 4096
"""Tokens read at once."""


class Analyzer:
    """A loaded model with its device, precision, prepared engines and cache.

    The bundled model, and others of its layout, run in numpy where they can
    (:func:`vtnstream.inference.numpy_model.wanted`); torch is then imported only for a request that
    needs it.

    Args:
        model: a model folder, a name on the Hub, or a loaded model, which is put into evaluation
            mode on the runtime's device; None is the bundled model.
        runtime: device, dtype, cache.
        keep_outputs: store the outputs of the model with the features, so that commands answer
            later requests without loading it.

    Raises:
        ModelError: the model cannot be used.
        UsageError: the device is not available.
    """

    def __init__(
        self,
        model: str | Path | VideoModel | None,
        *,
        runtime: RuntimeConfig | None = None,
        keep_outputs: bool = False,
    ) -> None:
        self.runtime = runtime or RuntimeConfig()
        source = os.fspath(model) if isinstance(model, (str, Path)) else None
        keep_outputs = keep_outputs and (model is None or source is not None)
        facts_file = FactsFile.of(source, self.runtime) if keep_outputs else None
        if model is None:
            model, source = bundled_model(), BUNDLED_MODEL
        self._scoring = threading.Lock()
        self._loader = ModelLoader(model, self.runtime)
        loaded = self._loader.usual
        self._about = about_model(loaded.config, loaded.weights_sha256, source)
        self._facts_file = facts_file
        if facts_file is not None and isinstance(model, (str, Path)):
            changed = facts_file != FactsFile.of(model, self.runtime)
            self._facts_file = None if changed else facts_file

    def share_threads(self) -> None:
        """Start threads that run the backbone for all videos, so that several threads may each
        analyse one video at the same time. They end with the process."""
        self._loader.share_threads()

    @property
    def config(self) -> ModelConfig:
        """The config of the model."""
        return self._loader.usual.config

    @property
    def weights_sha256(self) -> str:
        """Hash of all weights of the model."""
        return self._loader.usual.weights_sha256

    @property
    def model(self) -> VideoModel:
        """The model in torch, loaded now if that was not needed before."""
        return self._loader.in_torch().model

    @property
    def encoder(self) -> Encoder:
        """The frame encoder that most requests use."""
        return self._loader.usual.encoder

    def prepare(self, request: Request) -> None:
        """Load what a request needs, if that is not the case yet.

        Raises:
            UsageError: numpy was asked for and cannot answer the request.
        """
        self._loader.for_request(request)

    def prepare_stream(self) -> None:
        """Load what :meth:`follow` needs, before a stream is opened.

        Raises:
            UsageError: numpy was asked for.
        """
        self._loader.for_streams()

    def classify(
        self, path: str | Path, request: Request, *, progress: Progress | None = None
    ) -> Report:
        """Classify one video; see :func:`vtnstream.classify`."""
        return self._run(path, None, request, progress)

    def timeline(
        self,
        path: str | Path,
        request: Request,
        options: TimelineConfig,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """Find labelled segments in one video; see :func:`vtnstream.timeline`."""
        return self._run(path, options, request, progress)

    def attention(
        self, path: str | Path, request: Request, *, progress: Progress | None = None
    ) -> tuple[Report, AttentionMap]:
        """Return the attention over one video; see :func:`vtnstream.attention`."""
        if request.views is not None or request.method != "chunked":
            raise UsageError("attention is that of one pass over the whole sequence")
        began = time.perf_counter()
        model = self._loader.for_request(request)
        model.check_one_pass("attention")
        encoder = model.encoder_for(None, request)
        with self._open(path, request, progress, model, encoder) as source:
            middle = time.perf_counter()
            found, output = model.attention_map(source.features)
            plan = LocalizationPlan.of_class(model.config)
            reading = model.read(source.features, plan, output=output)
            if request.is_plain:
                self._keep(model, source, plan, reading, every_layer=True)
            analysis = analysis_of(model.config, source.features, plan, reading)
            source = _timed(source, model, began, middle)
            sampling = request.sampling or model.config.sampling
            report = report_of(
                path, source, self._about, encoder.computed_on, sampling, None, analysis
            )
            return report, found

    def summarize(
        self,
        path: str | Path,
        request: Request,
        options: TimelineConfig,
        config: SummaryConfig,
        *,
        progress: Progress | None = None,
    ) -> Report:
        """Select the best parts of one video; see :func:`vtnstream.summarize`."""
        if request.views is not None or request.method != "chunked":
            raise UsageError("a summary is made from one pass over the whole sequence")
        model = self._loader.for_request(request)
        model.check_one_pass("a summary")
        check_attention(model.config)
        return self._run(path, options, request, progress, config)

    def spans_to_label(
        self,
        path: str | Path,
        request: Request,
        length: float,
        *,
        progress: Progress | None = None,
    ) -> list[Candidate]:
        """Return the spans of one video that could be labelled, for
        :func:`~vtnstream.localization.informative.choose_spans`.

        Args:
            path: of the video.
            request: its part.
            length: length of a span in seconds.
            progress: receives the state of the extraction.

        Raises:
            UsageError: the model finds cuts, which are not labels of spans, or has several class
                heads.
        """
        config = self.config
        head = config.head
        if head.events is not None or knows_styles(config):
            raise UsageError(
                f"model {config.name} finds cuts and transitions, for which no span is "
                "labelled: name a model of your own labels with --model"
            )
        if head.heads:
            raise UsageError(
                f"model {config.name} has several class heads: spans are suggested for "
                "models with one"
            )
        plan = LocalizationPlan.of(config, TimelineConfig())
        model = self._loader.for_request(request)
        encoder = model.encoder_for(None, request)
        with self._open(path, request, progress, model, encoder) as source:
            reading = model.read(source.features, plan)
            timeline = timelines(config, source.features.times, plan, reading)[0]
            values = np.concatenate(list(source.features.blocks(_BLOCK)))
            return candidate_spans(Path(path), timeline, values, length)

    def follow(
        self,
        feed: Feed,
        request: Request,
        options: TimelineConfig,
        *,
        keep_seconds: float,
    ) -> AbstractContextManager[Follower]:
        """Analyse a stream while it arrives; see :func:`vtnstream.inference.follow.follow`.

        Raises:
            VideoError: the stream contains no video.
            UsageError: the model, the request or an option needs the whole video.
        """
        from vtnstream.inference.follow import follow
        from vtnstream.models.architectures import require_vtn

        loaded = self._loader.for_streams()
        model = require_vtn(loaded.temporal, "--follow")
        return follow(
            feed,
            model,
            loaded.encoder,
            request.sampling or model.config.sampling,
            options,
            keep_seconds=keep_seconds,
            runtime=self.runtime,
            stream=request.stream,
        )

    def stream_report(
        self,
        follower: Follower,
        request: Request,
        options: TimelineConfig,
        cut_short: str | None = None,
    ) -> Report:
        """Return the report of a stream that has ended: the class of the part that was kept. Its
        segments were emitted before."""
        loaded = self._loader.for_streams()
        source = follower.features(cut_short)
        analysis = self._classes(loaded, source.features)
        sampling = request.sampling or loaded.config.sampling
        path = follower.info.path
        return report_of(
            path, source, self._about, loaded.encoder.computed_on, sampling, options, analysis
        )

    def _classes(self, model: LoadedModel, features: FeatureSequence) -> Analysis:
        """Return the classes of a video; none if the model has only a dense head."""
        if not model.config.head.labels:
            return Analysis((), None, (), ())
        plan = LocalizationPlan.of(model.config, None)
        return analysis_of(model.config, features, plan, model.read(features, plan))

    def _run(
        self,
        path: str | Path,
        localize: TimelineConfig | None,
        request: Request,
        progress: Progress | None,
        summary: SummaryConfig | None = None,
    ) -> Report:
        """Open the features, score them and build the report; its segments are those of the
        ``summary`` if one is requested."""
        began = time.perf_counter()
        plan = LocalizationPlan.of(self.config, localize)  # before hours of decoding
        if localize is not None and request.views is not None:
            raise UsageError("views classify a whole video and give no timeline: use classify")
        if request.views is not None and knows_styles(self.config):
            raise UsageError(
                f"model {self.config.name} classifies a video by its cuts, in one pass over all "
                "frames: leave --views out"
            )
        model = self._loader.for_request(request)
        encoder = model.encoder_for(localize, request)
        with self._open(path, request, progress, model, encoder) as source:
            plan.check_length(path, len(source.features.times))
            with self._scoring if model.uses_all_cores else nullcontext():
                middle = time.perf_counter()
                reading = self._read(model, source, plan, request, progress or NullProgress())
                analysis = analysis_of(
                    model.config,
                    source.features,
                    plan,
                    reading,
                    keep_scores=request.frame_scores,
                )
                if summary is not None:
                    analysis = summarized(
                        path, model.config, source.features, reading.output, analysis, summary
                    )
            source = _timed(source, model, began, middle)
            sampling = request.sampling or model.config.sampling
            return report_of(
                *(path, source, self._about, encoder.computed_on, sampling, localize, analysis),
                summary,
            )

    def _read(
        self,
        model: LoadedModel,
        source: OpenedFeatures,
        plan: LocalizationPlan,
        request: Request,
        progress: Progress,
    ) -> Reading:
        """Run the temporal model over the features, and store its outputs."""
        model.prepare(self.runtime, progress)
        reading = model.read(source.features, plan, output=source.output, whole=request.whole)
        if request.is_plain:
            self._keep(model, source, plan, reading)
        return reading

    def _open(
        self,
        path: str | Path,
        request: Request,
        progress: Progress | None,
        model: LoadedModel,
        encoder: Encoder,
    ) -> AbstractContextManager[OpenedFeatures]:
        """Open the features of a video with this runtime and the model's prepared engines."""
        return model.open(path, request, encoder, self.runtime, progress or NullProgress())

    def _keep(
        self,
        model: LoadedModel,
        source: OpenedFeatures,
        plan: LocalizationPlan,
        reading: Reading,
        *,
        every_layer: bool = False,
    ) -> None:
        """Store what the next process needs to report without loading the model, if requested."""
        place, runtime = self._facts_file, source.facts.runtime
        if place is None or runtime is None or source.store is None:
            return
        facts = model.facts(self.runtime, runtime.workers, place.environment)
        if facts is not None:
            place.write(facts)
            keep_reading(source.store, facts, plan, source, reading, every_layer=every_layer)


def _timed(
    source: OpenedFeatures, model: LoadedModel, began: float, middle: float
) -> OpenedFeatures:
    """Add how the temporal half of a run computed and how long it took, to the facts of a run
    that began at ``began`` and had its features at ``middle``."""
    now = time.perf_counter()
    facts = dataclasses.replace(
        source.facts,
        attention=model.attention_way,
        temporal_encoder=model.temporal_backend,
        temporal_seconds=round(now - middle, 3),
        seconds=round(now - began, 3),
    )
    return dataclasses.replace(source, facts=facts)
