"""Load a model once and analyse many videos with it."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch

from vtnstream.config import RuntimeConfig, TimelineConfig
from vtnstream.config.loading import to_dict
from vtnstream.config.runtime import default_cache_dir
from vtnstream.config.shipped import BUNDLED_MODEL, bundled_model
from vtnstream.config.summary import SummaryConfig
from vtnstream.editing.summary import choose, filled, joined, pieces_of
from vtnstream.encoding.encoder import FrameEncoder, resolve_device
from vtnstream.encoding.engines.choose import candidates
from vtnstream.encoding.engines.state import EngineState
from vtnstream.encoding.stored import OpenedFeatures
from vtnstream.errors import UsageError
from vtnstream.inference.follow import Follower, follow
from vtnstream.inference.model_facts import FactsFile, ModelFacts
from vtnstream.inference.opening import open_features
from vtnstream.inference.report import about_model, report_of
from vtnstream.inference.request import Request
from vtnstream.inference.stored_answers import keep_reading, may_be_stored
from vtnstream.localization.edit_style import SHOTS_TRACK
from vtnstream.localization.informative import Candidate, candidate_spans
from vtnstream.models.architectures import VideoModel, require_vtn
from vtnstream.models.io.checkpoint import load_model, weights_sha256
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.models.precision import TORCH_DTYPES
from vtnstream.models.vivit.model import ViViT
from vtnstream.models.vtn.compiled_encoder import choose_encoder
from vtnstream.models.vtn.model import VTN
from vtnstream.models.vtn.temporal import TemporalEncoder
from vtnstream.progress import NullProgress, Progress
from vtnstream.scoring.analysis import Analysis, Reading, analysis_of
from vtnstream.scoring.analyze import analyze, attention_map, read, token_scores
from vtnstream.scoring.clips import clip_layout
from vtnstream.scoring.localization_plan import LocalizationPlan, knows_styles
from vtnstream.transport.feed import Feed
from vtnstream.types import AttentionMap, FeatureSequence, Report

_BLOCK = 4096
"""Tokens read at once."""


class Analyzer:
    """A loaded model with its device, precision, prepared engines and cache.

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
        loaded = load_model(model) if isinstance(model, (str, Path)) else model
        self.model = loaded
        self.model.eval().to(resolve_device(self.runtime.device))
        with ThreadPoolExecutor(1) as beside:  # hashing releases the interpreter's lock
            weights = beside.submit(weights_sha256, self.model)
            self.encoder = FrameEncoder.from_model(self.model, self.runtime)
        self._engines = EngineState()
        self._scoring = threading.Lock()
        self._encoder_backend: str | None = None
        self._temporal = loaded
        if isinstance(loaded, VTN):
            self._temporal = loaded.in_precision(TORCH_DTYPES[self.encoder.dtype])
        cache = self.runtime.cache_dir or default_cache_dir()
        self._scratch = cache / "states" if self.runtime.use_cache else None
        self._about = about_model(self.model.config, weights.result(), source)
        self._facts_file = facts_file
        if facts_file is not None and isinstance(model, (str, Path)):
            changed = facts_file != FactsFile.of(model, self.runtime)
            self._facts_file = None if changed else facts_file

    def share_threads(self) -> None:
        """Start threads that run the backbone for all videos, so that several threads may each
        analyse one video at the same time. They end with the process."""
        self.encoder.share_threads(self.runtime, self._engines)

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
        model = require_vtn(self._temporal, "attention")
        with self._open(path, request, progress) as source:
            found, output = attention_map(model, source.features, scratch=self._scratch)
            analysis = self._classes(model, source.features, output)
            sampling = request.sampling or self.model.config.sampling
            report = report_of(
                path, source, self._about, self.encoder.computed_on, sampling, None, analysis
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
        model = require_vtn(self._temporal, "a summary")
        plan = LocalizationPlan.of(model.config, options)
        with self._open(path, request, progress) as source:
            plan.check_length(path, len(source.features.times))
            found, output = attention_map(model, source.features, scratch=self._scratch)
            analysis = analyze(model, source.features, plan, output=output)
            times = source.features.times
            span = (float(times.start_seconds[0]), float(times.end_seconds[-1]))
            shots = [s for s in analysis.segments or () if s.track in (None, "dense", SHOTS_TRACK)]
            left_out = ("black",) if knows_styles(model.config) else ()
            offered = pieces_of(source.features, found.row(), shots, span, config, left_out)
            kept = filled(offered, choose(offered, config), config)
            if not kept:
                raise UsageError(
                    f"{path}: no piece of at least {config.shortest:g} s fits a summary of "
                    f"{config.length:g} s: give a greater --length"
                )
            chosen = dataclasses.replace(analysis, segments=tuple(joined(kept)))
            sampling = request.sampling or self.model.config.sampling
            report = report_of(
                path, source, self._about, self.encoder.computed_on, sampling, options, chosen
            )
            settings = {**report.settings, "summary": to_dict(config)}
            return dataclasses.replace(report, settings=settings)

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
        head = self.model.config.head
        if head.events is not None or knows_styles(self.model.config):
            raise UsageError(
                f"model {self.model.config.name} finds cuts and transitions, for which no span is "
                "labelled: name a model of your own labels with --model"
            )
        if head.heads:
            raise UsageError(
                f"model {self.model.config.name} has several class heads: spans are suggested for "
                "models with one"
            )
        plan = LocalizationPlan.of(self.model.config, TimelineConfig())
        with self._open(path, request, progress) as source:
            timeline = token_scores(self._temporal, source.features, plan)[0]
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
        model = require_vtn(self._temporal, "--follow")
        return follow(
            feed,
            model,
            self.encoder,
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
        model = require_vtn(self._temporal, "--follow")
        source = follower.features(cut_short)
        analysis = self._classes(model, source.features)
        sampling = request.sampling or model.config.sampling
        path = follower.info.path
        return report_of(
            path, source, self._about, self.encoder.computed_on, sampling, options, analysis
        )

    def _classes(
        self, model: VTN, features: FeatureSequence, output: SequenceOutput | None = None
    ) -> Analysis:
        """Return the classes of a video; none if the model has only a dense head."""
        if not model.config.head.labels:
            return Analysis((), None, (), ())
        plan = LocalizationPlan.of(model.config, None)
        return analyze(model, features, plan, output=output, scratch=self._scratch)

    def _run(
        self,
        path: str | Path,
        localize: TimelineConfig | None,
        request: Request,
        progress: Progress | None,
    ) -> Report:
        """Open the features, score them and build the report."""
        began = time.perf_counter()
        plan = LocalizationPlan.of(self.model.config, localize)  # before hours of decoding
        if localize is not None and request.views is not None:
            raise UsageError("views classify a whole video and give no timeline: use classify")
        encoder = self._encoder_for(localize, request)
        with self._open(path, request, progress, encoder) as source:
            plan.check_length(path, len(source.features.times))
            with self._scoring:  # the model uses all cores
                middle = time.perf_counter()
                analysis = self._scored(source, plan, request, progress or NullProgress())
            now = time.perf_counter()
            facts = dataclasses.replace(
                source.facts,
                attention=self._attention(),
                temporal_encoder=self._encoder_backend,
                temporal_seconds=round(now - middle, 3),
                seconds=round(now - began, 3),
            )
            source = dataclasses.replace(source, facts=facts)
            sampling = request.sampling or self.model.config.sampling
            return report_of(
                path, source, self._about, encoder.computed_on, sampling, localize, analysis
            )

    def _scored(
        self,
        source: OpenedFeatures,
        plan: LocalizationPlan,
        request: Request,
        progress: Progress,
    ) -> Analysis:
        """Run the temporal model over the features, and store its outputs."""
        self._choose_encoder(progress)
        reading = read(
            self._temporal,
            source.features,
            plan,
            output=source.output,
            whole=request.whole,
            scratch=self._scratch,
        )
        if self._facts_file is not None and may_be_stored(request):
            self._keep(self._facts_file, source, plan, reading)
        keep = request.frame_scores
        return analysis_of(self.model.config, source.features, plan, reading, keep_scores=keep)

    def _open(
        self,
        path: str | Path,
        request: Request,
        progress: Progress | None,
        encoder: FrameEncoder | None = None,
    ) -> AbstractContextManager[OpenedFeatures]:
        """Open the features of a video with this model, runtime and its prepared engines."""
        return open_features(
            path,
            self.model,
            encoder or self.encoder,
            request,
            self.runtime,
            progress or NullProgress(),
            self._engines,
        )

    def _keep(
        self, place: FactsFile, source: OpenedFeatures, plan: LocalizationPlan, reading: Reading
    ) -> None:
        """Store what the next process needs to report without loading the model."""
        runtime = source.facts.runtime
        if runtime is None or source.store is None:
            return
        if not isinstance(self.model, VTN) or self.encoder.device.type != "cpu":
            return
        facts = ModelFacts(
            config=self.model.config,
            weights_sha256=str(self._about["weights_sha256"]),
            backbone_sha256=self.encoder.weights_sha256,
            device=str(self.encoder.device),
            dtype=self.encoder.dtype,
            backends=candidates(self.runtime.backend, self.encoder.device.type),
            workers=runtime.workers,
            attention=self._attention(),
            torch=torch.__version__,
            environment=place.environment,
        )
        place.write(facts)
        keep_reading(source.store, facts, plan, source, reading)

    def _choose_encoder(self, progress: Progress) -> None:
        """Compile the temporal encoder on the first video, where ``--backend`` names a compiler and
        the model is on a GPU."""
        model = self._temporal
        if self._encoder_backend is None and isinstance(model, VTN) and model.cls_token.is_cuda:
            choice = choose_encoder(model, self.runtime.backend)
            self._temporal, self._encoder_backend = choice.model, choice.backend
            if choice.problem is not None:
                progress.warn(choice.problem)

    def _attention(self) -> str | None:
        """Return how the temporal encoder attends, for the report."""
        encoder = getattr(self._temporal, "temporal_encoder", None)
        return encoder.attention_way if isinstance(encoder, TemporalEncoder) else None

    def _encoder_for(self, localize: TimelineConfig | None, request: Request) -> FrameEncoder:
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
                f"model {self.model.config.name} ({self.model.vivit.form}) reads clips, not whole "
                "videos: leave --whole out"
            )
        return self.encoder.with_hop(layout.hop) if self.encoder.shape.clip else self.encoder
