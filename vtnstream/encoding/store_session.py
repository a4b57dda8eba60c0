"""Open the feature store of one request: its key, its layout, and the engine that fills it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtnstream.config import SamplingConfig
from vtnstream.config.runtime import EAGER
from vtnstream.encoding.decoder_choice import Decoding, choose_decoding
from vtnstream.encoding.engines.protocols import EncoderEngines
from vtnstream.encoding.engines.state import Choice, Prepared, SlowerError
from vtnstream.encoding.model_inputs import open_inputs
from vtnstream.encoding.run_facts import RuntimeFacts
from vtnstream.encoding.store_filling import DecodeJob
from vtnstream.encoding.stored import chunk_range, missing_runs, sampling_grid, stored_backend
from vtnstream.errors import EngineError, VideoDecodeError
from vtnstream.features.cache import FeatureCache
from vtnstream.features.key import FeatureKey, FileState, video_identity
from vtnstream.features.store import FeatureStore, StoreLayout
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.types import TimeRange
from vtnstream.video.bars import find_bars
from vtnstream.video.decoding.hardware import Hardware
from vtnstream.video.probe import Examined
from vtnstream.video.sampling.grid import estimate_num_tokens, index_range

_FIRST_FRAMES = 2
"""Frames on which an engine is compared and timed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A locked store, and what is needed to fill it.

    Attributes:
        store: holds the features of the chosen backend.
        job: what to decode and encode.
        first_chunk, stop_chunk: chunks of the request; None is the end of the video.
        num_expected: tokens of the chunks of the request according to the header, or None.
        facts: device, precision, backend and reason, for the report.
    """

    store: FeatureStore
    job: DecodeJob
    first_chunk: int
    stop_chunk: int | None
    num_expected: int | None
    facts: RuntimeFacts


@dataclass(frozen=True)
class Opening:
    """One request for the features of one video.

    Attributes:
        path: the video, whose file had the ``state``.
        examined: its header, and how its times must be read.
        sampling, span, stream: which frames.
        cache: the feature stores.
        engines: what can run the backbone.
        refused: why NVDEC must not decode, if it failed before.
    """

    path: str | Path
    state: FileState
    examined: Examined
    sampling: SamplingConfig
    span: TimeRange
    stream: int | None
    cache: FeatureCache
    engines: EncoderEngines
    refused: str | None = None

    @contextmanager
    def opened(self) -> Iterator[Opened]:
        """Open the store of the best backend. If an engine cannot be built or trusted, warn and
        use the next best backend.

        Raises:
            UsageError: the requested backend cannot run here.
            VideoError: the first frames, if an engine needs them, cannot be decoded.
            StoreError: the store cannot be opened.
        """
        with ExitStack() as stack:
            yield self._open_best(stack)

    def _open_best(self, stack: ExitStack) -> Opened:
        choice = self.choose()
        while choice.backend != EAGER:
            with ExitStack() as attempt:
                try:
                    opened = self._open(attempt, choice)
                    stack.push(attempt.pop_all())
                    return opened
                except EngineError as error:
                    choice = self._refuse(choice, error)
        return self._open(stack, choice)

    def choose(self) -> Choice:
        """Choose the backend. Prefer the one whose features of this video are stored, so that
        features of two backends are never mixed."""
        engines = self.engines
        asked = engines.runtime.backend
        found = stored_backend(self.cache, self.key, engines.candidates(), asked)
        if found is not None:
            return Choice(*found)
        try:
            return engines.choose(self.num_expected, self.first_frames)
        except VideoDecodeError:  # the run reports it with more detail
            return Choice(EAGER, "its first frames cannot be decoded")

    def key(self, backend: str) -> FeatureKey:
        """Return the key of a backend's features of this video."""
        return replace(
            self._any_key,
            backend=f"{backend}:{self.engines.encoder.device_type}",
            decoder=self.decoding.name,
            resizer=self.decoding.resizer,
        )

    @cached_property
    def decoding(self) -> Decoding:
        """The decoder of this video. A warning is given once if NVDEC was wanted and cannot be
        used."""
        engines = self.engines
        if self.refused is not None:
            chosen = Decoding(self.refused, refused=True)
        else:
            try:
                chosen = choose_decoding(
                    engines.runtime, engines.encoder, self.sampling, self._decoded_first
                )
            except VideoDecodeError:  # the run reports it with more detail
                return Decoding("its first frames cannot be decoded")
        if chosen.refused:
            engines.progress.warn(f"{self.path}: decoded in software: {chosen.reason}")
        return chosen

    @cached_property
    def _any_key(self) -> FeatureKey:
        """The key without backend and decoder; the file is hashed once."""
        encoder = self.engines.encoder
        return FeatureKey(
            video=video_identity(self.path),
            stream_index=self.examined.info.stream_index,
            sampling=sampling_grid(self.sampling, self.span, encoder.shape),
            preprocess=encoder.preprocess.key(),
            resizer="",
            decoder="",
            backbone=encoder.config.name,
            backbone_arguments=encoder.config.key(),
            weights_sha256=encoder.weights_sha256,
            dtype=encoder.dtype,
            backend="",
        )

    @cached_property
    def num_expected(self) -> int | None:
        """Number of tokens of the request according to the header; None if it does not say."""
        picked = estimate_num_tokens(self.examined.info, self.sampling, self.span)
        return self.engines.encoder.shape.count_tokens(picked, self.sampling)

    def first_frames(self) -> NDArray[np.uint8]:
        """Return the first frames of the range, (n, h, w, 3) uint8, n at least 1.

        Raises:
            VideoError: no frame can be decoded.
        """
        return self._first_frames

    @cached_property
    def _first_frames(self) -> NDArray[np.uint8]:
        frames: NDArray[np.uint8] = self._decoded_first(None)
        return frames

    def _decoded_first(self, hardware: Hardware | None) -> Any:
        encoder = self.engines.encoder
        first, stop = index_range(self.sampling, self.span)
        with (
            open_inputs(
                self.path,
                self.sampling,
                encoder.shape,
                fit=frame_fit(encoder.preprocess),
                interpolation=encoder.preprocess.interpolation,
                chunk_size=_FIRST_FRAMES,
                first_index=first - first % _FIRST_FRAMES,
                stop_index=stop,
                span=self.span,
                stream=self.stream,
                hardware=hardware,
                examined=self.examined,
            ) as source,
            closing(source.chunks()) as chunks,
        ):
            for chunk in chunks:
                if len(chunk.frames):
                    return chunk.frames
        raise VideoDecodeError(f"{self.path}: no frame could be decoded in the requested range")

    def _open(self, stack: ExitStack, choice: Choice) -> Opened:
        """Open the store of ``choice`` and prepare its engine.

        Raises:
            EngineError: the engine cannot be used.
        """
        engines, encoder = self.engines, self.engines.encoder
        waiting = f"{self.path}: another vtnstream process is reading it, waiting"
        store = stack.enter_context(
            self.cache.open(
                self.key(choice.backend),
                self.state,
                on_wait=lambda: engines.progress.warn(waiting),
            )
        )
        layout = store.layout or store.begin(self._plan_layout())
        first_chunk, stop_chunk = chunk_range(store, self.sampling, self.span)
        size = engines.inputs_per_call(layout.batch_size)
        prepared: Prepared | None = None
        if missing_runs(store, first_chunk, stop_chunk):
            prepared = engines.prepare(choice, size, self.first_frames)
            self._warn_if_slow()
        job = DecodeJob(
            path=self.path,
            preprocess=encoder.preprocess,
            shape=encoder.shape,
            sampling=self.sampling,
            span=self.span,
            stream=self.stream,
            examined=self.examined,
            hardware=self.decoding.hardware,
            run=prepared.run if prepared else encoder.runner(size),
            worker_plan=engines.worker_plan,
            threads=engines.state.threads,
            decoders=max(1, engines.worker_plan.decoders // max(1, engines.state.num_videos)),
        )
        facts = replace(
            engines.facts(choice, layout.batch_size, prepared),
            decoder=self.decoding.name,
            decoder_reason=self.decoding.reason,
        )
        expected = self._in_chunks(first_chunk, stop_chunk, layout.chunk_tokens)
        return Opened(store, job, first_chunk, stop_chunk, expected, facts)

    def _in_chunks(self, first: int, stop: int | None, chunk_tokens: int) -> int | None:
        """Number of tokens in chunks ``[first, stop)``, which are filled whole even where the
        range covers a part of them; None if the header does not say."""
        if self.sampling.kind != "rate" or self.engines.encoder.shape.clip or not (first or stop):
            return self.num_expected
        last = estimate_num_tokens(self.examined.info, self.sampling, TimeRange())
        if stop is not None:
            last = stop * chunk_tokens if last is None else min(last, stop * chunk_tokens)
        return None if last is None else max(0, last - first * chunk_tokens)

    def _plan_layout(self) -> StoreLayout:
        """Plan the chunk layout of a new store."""
        encoder = self.engines.encoder
        seconds = self.examined.info.duration_from_header
        rate = None
        if self.num_expected and seconds and self.span == TimeRange():
            rate = self.num_expected / float(seconds)
        if self.sampling.kind == "rate":
            rate = float(self.sampling.fps)
        try:
            batch_size = self.engines.batch_size(self.num_expected, self.first_frames)
        except VideoDecodeError:
            batch_size = encoder.usual_batch_size
        layout = StoreLayout.plan(encoder.num_features, batch_size, rate)
        if encoder.preprocess.bars == "crop":
            bars = find_bars(self.path, self.examined)
            layout = replace(layout, bars=bars.shares() if bars else ())
        return layout

    def _refuse(self, choice: Choice, error: EngineError) -> Choice:
        """Return the next best choice after a backend failed; in the end the uncompiled network."""
        encoder = self.engines.encoder
        if not isinstance(error, SlowerError):
            self.engines.progress.warn(
                f"{choice.backend} is not used for {encoder.config.name}: {error}"
            )
        self.engines.state.refused[choice.backend] = str(error)
        other = self.engines.choose(self.num_expected, self.first_frames)
        why = f"{choice.backend} is not used: {error}"
        return replace(other, reason=why if other.backend == EAGER else f"{other.reason}; {why}")

    def _warn_if_slow(self) -> None:
        encoder = self.engines.encoder
        if encoder.is_slow and not self.engines.state.num_encoded:
            self.engines.progress.warn(
                f"{encoder.dtype} is emulated on this {encoder.device_type.upper()} and slow: "
                "--dtype float32 is faster"
            )
