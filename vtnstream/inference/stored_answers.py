"""Make reports from the store alone: stored features, and stored outputs of the model.

This module imports no torch, timm or transformers. Every report equals that of the loaded model,
because it uses the model's own outputs, stored under a key of everything that determines them.
Missing data and errors are left to :class:`vtnstream.analyzer.Analyzer`.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vtnstream.config import RuntimeConfig, SamplingConfig, TimelineConfig
from vtnstream.config.loading import to_dict
from vtnstream.config.runtime import default_cache_dir
from vtnstream.config.summary import SummaryConfig
from vtnstream.encoding.clips import FRAMES
from vtnstream.encoding.run_facts import ComputedOn, RunFacts, RuntimeFacts, StoreFacts
from vtnstream.encoding.stored import (
    ExtractedFeatures,
    OpenedFeatures,
    chunk_range,
    extracted,
    missing_runs,
    reason_for_software,
    sampling_grid,
    stored_backend,
)
from vtnstream.errors import VtnstreamError
from vtnstream.features.cache import FeatureCache
from vtnstream.features.key import FeatureKey, FileState, VideoIdentity, video_identity
from vtnstream.features.scores import ScoreKey, read_scores, write_scores
from vtnstream.features.store import FeatureStore, StoredFeatures
from vtnstream.inference.model_facts import FactsFile, ModelFacts
from vtnstream.inference.report import report_of
from vtnstream.inference.request import Request, time_range
from vtnstream.inference.summarizing import summarized
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.scoring.analysis import Analysis, Reading, analysis_of
from vtnstream.scoring.checks import check_attention
from vtnstream.scoring.localization_plan import LocalizationPlan
from vtnstream.transport.address import is_address
from vtnstream.types import AttentionMap, FloatArray, Report, TimeRange
from vtnstream.video.decoding.reader import DECODER, RESIZER
from vtnstream.video.probe import Examined, examine

_T = TypeVar("_T")
_PARTS = ("logits", "dense_logits", "attention")


def _score_key(
    facts: ModelFacts, plan: LocalizationPlan, features: StoredFeatures, every_layer: bool
) -> ScoreKey:
    """Return the key of a model's outputs: everything that determines them."""
    return {
        "features": features.sha256,
        "model": facts.weights_sha256,
        "config": to_dict(facts.config),
        "dtype": facts.dtype,
        "environment": facts.environment,
        "dense": plan.dense,
        "attention": "every layer" if every_layer else "last layer",
        "sliding": to_dict(plan.options) if plan.sliding and plan.options else None,
    }


def keep_reading(
    store: FeatureStore,
    facts: ModelFacts,
    plan: LocalizationPlan,
    source: OpenedFeatures,
    reading: Reading,
    *,
    every_layer: bool = False,
) -> None:
    """Keep the outputs of a model in the store of its features, before they are overwritten.

    ``every_layer``: they have the attention of every layer, and not only of the last.
    """
    features = source.features
    if not isinstance(features, StoredFeatures) or reading.facts:
        return
    arrays: dict[str, FloatArray] = {}
    for name in _PARTS:
        part = getattr(reading.output, name)
        if part is not None:
            arrays[name] = part
    if reading.sliding is not None:
        arrays["sliding"] = reading.sliding
    write_scores(store, _score_key(facts, plan, features, every_layer), arrays)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One request for one video whose header was read."""

    path: str | Path
    state: FileState
    identity: VideoIdentity
    examined: Examined
    sampling: SamplingConfig
    span: TimeRange


@dataclass(frozen=True, slots=True)
class _Found:
    """What was stored for one request, and when its reading began and its features were open."""

    source: OpenedFeatures
    reading: Reading
    sampling: SamplingConfig
    began: float
    opened: float


class StoredAnswers:
    """Makes the reports of one model from the store.

    Args:
        facts: of the model, from the cache.
        source: the model as named by the user.
        runtime: settings with which the model would run.
    """

    def __init__(self, facts: ModelFacts, source: str | None, runtime: RuntimeConfig) -> None:
        self.facts = facts
        self._about = facts.about(source)
        self._runtime = runtime
        self._cache = FeatureCache(runtime.cache_dir or default_cache_dir())
        self._computed = ComputedOn(
            facts.device, facts.dtype, FRAMES, torch=facts.torch, numpy=facts.numpy
        )

    @classmethod
    def of(
        cls, model: str | Path | None, source: str | None, runtime: RuntimeConfig
    ) -> StoredAnswers | None:
        """Return the stored results of a model; None if its facts are not in the cache."""
        place = FactsFile.of(model, runtime)
        facts = place.read() if place is not None else None
        return None if facts is None else cls(facts, source, runtime)

    def report(
        self,
        path: str | Path,
        request: Request,
        localize: TimelineConfig | None,
        summary: SummaryConfig | None = None,
    ) -> Report | None:
        """Return the report of a video, or None if the model must be loaded.

        Args:
            path: of the video.
            request: its part.
            localize: how to make a timeline; None asks for the class alone.
            summary: how to select parts along the timeline; None keeps its segments.
        """
        return _unless_refused(
            path, request, lambda: self._timeline(path, request, localize, summary)
        )

    def attention(self, path: str | Path, request: Request) -> tuple[Report, AttentionMap] | None:
        """Return the report of a video and the attention of [CLS] in every layer, or None if the
        model must be loaded."""
        return _unless_refused(path, request, lambda: self._attention(path, request))

    def _timeline(
        self,
        path: str | Path,
        request: Request,
        localize: TimelineConfig | None,
        summary: SummaryConfig | None,
    ) -> Report | None:
        config = self.facts.config
        plan = LocalizationPlan.of(config, localize)
        with self._read(path, request, plan) as found:
            if found is None:
                return None
            features, reading = found.source.features, found.reading
            analysis = analysis_of(
                config, features, plan, reading, keep_scores=request.frame_scores
            )
            if summary is not None:
                check_attention(config)
                analysis = summarized(path, config, features, reading.output, analysis, summary)
            return self._report(path, found, localize, analysis, summary)

    def _attention(self, path: str | Path, request: Request) -> tuple[Report, AttentionMap] | None:
        config = self.facts.config
        plan = LocalizationPlan.of_class(config)
        with self._read(path, request, plan, every_layer=True) as found:
            if found is None or found.reading.output.attention is None:
                return None
            features = found.source.features
            weights = AttentionMap(found.reading.output.attention, features.times)
            analysis = analysis_of(config, features, plan, found.reading)
            return self._report(path, found, None, analysis), weights

    def _report(
        self,
        path: str | Path,
        found: _Found,
        localize: TimelineConfig | None,
        analysis: Analysis,
        summary: SummaryConfig | None = None,
    ) -> Report:
        source, now = found.source, time.perf_counter()
        facts = dataclasses.replace(
            source.facts,
            attention=self.facts.attention,
            scores_from_store=True,
            temporal_seconds=round(now - found.opened, 3),
            seconds=round(now - found.began, 3),
        )
        source = dataclasses.replace(source, facts=facts)
        return report_of(
            *(path, source, self._about, self._computed, found.sampling, localize, analysis),
            summary,
        )

    @contextmanager
    def _read(
        self,
        path: str | Path,
        request: Request,
        plan: LocalizationPlan,
        *,
        every_layer: bool = False,
    ) -> Iterator[_Found | None]:
        """Open the features and outputs for a request; None if something is not stored.

        Args:
            path, request: the video and its part.
            plan: how to localise.
            every_layer: whether the attention of every layer is needed, or only of the last.
        """
        began = time.perf_counter()
        wanted = _Wanted(
            path,
            FileState.of(path),
            video_identity(path),
            examine(path, stream=request.stream),
            request.sampling or self.facts.config.sampling,
            time_range(path, request.start, request.end, request.stream),
        )
        with self._features(wanted, began) as found:
            if found is None or found.store is None:
                yield None
                return
            plan.check_length(path, len(found.features.times))
            opened = time.perf_counter()
            assert isinstance(found.features, StoredFeatures)
            key = _score_key(self.facts, plan, found.features, every_layer)
            arrays = read_scores(found.store, key)
            if arrays is None:
                yield None
                return
            yield _Found(found.named(path, path), _reading(arrays), wanted.sampling, began, opened)

    @contextmanager
    def _features(self, wanted: _Wanted, began: float) -> Iterator[ExtractedFeatures | None]:
        """Open the features of the backend that a run would use; None unless all are stored."""
        keys = {name: self._key(wanted, name) for name in self.facts.backends}
        asked = self._runtime.backend
        chosen = stored_backend(self._cache, keys.__getitem__, keys, asked)
        if chosen is None:
            yield None
            return
        backend, reason = chosen
        with self._cache.open(keys[backend], wanted.state) as store:
            if not _is_complete(store, wanted):
                yield None
                return
            store.lock.try_acquire(exclusive=False)  # others may read along from here on

            def facts(features: StoredFeatures) -> RunFacts:
                seconds = time.perf_counter() - began
                return self._run_facts(store, features, backend, reason, seconds)

            yield extracted(
                store, wanted.path, wanted.examined.info, wanted.sampling, wanted.span, facts
            )

    def _key(self, wanted: _Wanted, backend: str) -> FeatureKey:
        config = self.facts.config
        return FeatureKey(
            video=wanted.identity,
            stream_index=wanted.examined.info.stream_index,
            sampling=sampling_grid(wanted.sampling, wanted.span),
            preprocess=config.preprocess.key(),
            resizer=RESIZER,
            decoder=DECODER,
            backbone=config.backbone.name,
            backbone_arguments=config.backbone.key(),
            weights_sha256=self.facts.backbone_sha256,
            dtype=self.facts.dtype,
            backend=f"{backend}:{self.facts.device}",
        )

    def _run_facts(
        self,
        store: FeatureStore,
        features: StoredFeatures,
        backend: str,
        reason: str,
        seconds: float,
    ) -> RunFacts:
        return RunFacts(
            tokens=len(features.times),
            features=features.num_features,
            from_store=True,
            frames_decoded=0,
            bars=store.require_layout().bars or None,
            stored=StoreFacts(
                tokens_encoded=0,
                extract_seconds=round(seconds, 3),
                decode_wait_seconds=0.0,
                backbone_seconds=0.0,
                store=str(store.directory),
                video_sha256=store.video_sha256,
            ),
            runtime=RuntimeFacts(
                device=self.facts.device,
                dtype=self.facts.dtype,
                backend=backend,
                reason=reason,
                batch_size=store.require_layout().batch_size,
                workers=self.facts.workers,
                decoder=DECODER,
                decoder_reason=reason_for_software(self._runtime),
            ),
            video_blocks_sha256=store.key.video.blocks_sha256,
        )


def _unless_refused(path: str | Path, request: Request, make: Callable[[], _T | None]) -> _T | None:
    """Return what ``make`` makes, or None where only a loaded model answers, or reports why not."""
    if not request.is_plain or is_address(path) or not Path(path).is_file():
        return None
    try:
        return make()
    except VtnstreamError:
        return None  # the model meets the same error


def _is_complete(store: FeatureStore, wanted: _Wanted) -> bool:
    """Return whether a run would decode nothing and hash nothing."""
    if store.layout is None or store.video_sha256 is None:
        return False
    first, stop = chunk_range(store, wanted.sampling, wanted.span)
    unchanged = not FileState.of(wanted.path).was_written_since(wanted.state)
    return unchanged and not missing_runs(store, first, stop)


def _reading(arrays: Mapping[str, Any]) -> Reading:
    output = SequenceOutput(*(arrays.get(name) for name in _PARTS))
    return Reading(output, arrays.get("sliding"))
