"""Fill the feature store: decode and encode missing chunks batch by batch, and publish them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtnstream.config import PreprocessConfig, SamplingConfig
from vtnstream.encoding.clips import InputShape
from vtnstream.encoding.model_inputs import InputSource, open_inputs
from vtnstream.encoding.stored import missing_runs
from vtnstream.encoding.worker_pool import (
    BackboneThreads,
    BatchEncoder,
    EncodedBatch,
    Encoding,
    WorkerPlan,
)
from vtnstream.features.chunk import StoredChunk, persistent_stats
from vtnstream.features.store import EndRecord, FeatureStore
from vtnstream.localization.runs import gap_free_runs
from vtnstream.preprocess.spatial import frame_fit
from vtnstream.progress import Progress
from vtnstream.types import (
    DecodeStats,
    DecodeSummary,
    FloatArray,
    FrameChunk,
    TimeRange,
    TokenTimes,
)
from vtnstream.video.bars import Bars
from vtnstream.video.decoding.hardware import DECODERS, Hardware
from vtnstream.video.probe import Examined
from vtnstream.video.sampling.pieces import frames_waiting
from vtnstream.video.sampling.prefetch import prefetch
from vtnstream.video.source import VideoSource

_FRAMES_AHEAD = 32
"""Frames, at least two batches, that the decoder may run ahead of the backbone. Then it waits, so
that memory stays bounded."""


@dataclass(slots=True)
class DecodeFacts:
    """Counts and seconds of one run, for the report."""

    num_tokens: int = 0
    num_frames_decoded: int = 0
    seconds_waiting_for_frames: float = 0.0
    seconds_in_backbone: float = 0.0


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """One video to encode with one configuration.

    Attributes:
        threads: call the engine for several videos; None starts some for this video.
        decoders: largest number of decoders of this video.
    """

    path: str | Path
    preprocess: PreprocessConfig
    shape: InputShape
    sampling: SamplingConfig
    span: TimeRange
    stream: int | None
    examined: Examined
    hardware: Hardware | None
    run: BatchEncoder
    worker_plan: WorkerPlan
    threads: BackboneThreads | None
    decoders: int


def frames_held(batch_size: int, worker_plan: WorkerPlan, frame_bytes: int) -> int:
    """Return the largest number of frames in memory: ahead of the backbone, in its workers, one
    batch at the decoder and one in transit, and those of further decoders."""
    ahead = (_depth(batch_size) + 2 * worker_plan.workers + 2) * batch_size
    return ahead + frames_waiting(batch_size, worker_plan.decoders, frame_bytes)


def _depth(batch_size: int) -> int:
    return max(2, _FRAMES_AHEAD // batch_size)


def fill_store(
    store: FeatureStore,
    job: DecodeJob,
    first_chunk: int,
    stop_chunk: int | None,
    progress: Progress,
) -> DecodeFacts:
    """Decode and encode every missing chunk of ``[first_chunk, stop_chunk)``; None is the end of
    the video. Each chunk is published as soon as it is complete.

    Raises:
        VideoError: the video cannot be opened or decoded.
        StoreError: a chunk cannot be written.
    """
    facts = DecodeFacts()
    done = sum(
        len(chunk.times)
        for number, chunk in store.index().items()
        if number >= first_chunk and (stop_chunk is None or number < stop_chunk)
    )
    progress.advance(done, note=f"{done} stored before" if done else "")
    for first, stop in missing_runs(store, first_chunk, stop_chunk):
        done = _fill_run(store, job, first, stop, facts, progress, done)
    return facts


def _fill_run(
    store: FeatureStore,
    job: DecodeJob,
    first: int,
    stop: int | None,
    facts: DecodeFacts,
    progress: Progress,
    done: int,
) -> int:
    layout = store.require_layout()
    size, plan = layout.num_features, job.worker_plan
    with (
        Encoding(job.run, plan, size, job.threads) as encoding,
        _open_source(store, job, first, stop) as source,
    ):
        with closing(prefetch(source.chunks(), depth=_depth(layout.batch_size))) as batches:
            # A run that starts before its first missing chunk decodes stored chunks again.
            start = first * layout.chunk_tokens
            fresh = (b for b in _timed(batches, facts) if b.first_index >= start)
            encoded = _reported(encoding.results(fresh), progress, done)
            before = done
            for chunk in _assemble(store, encoded, first):
                store.append(chunk)
                facts.num_tokens += len(chunk.times)
                done += len(chunk.times)
        facts.seconds_in_backbone += encoding.busy_seconds
        summary = source.summary
        facts.num_frames_decoded += summary.stats.num_frames
        if summary.frames is not None:
            store.number_frames(summary.frames)
        if summary.reached_end:
            # A pass that began after the last token does not know where the tokens end.
            if done > before or not missing_runs(store, 0, first):
                store.finish(_end_record(store, summary))
        elif stop is not None:
            for missing, _ in missing_runs(store, first, stop):
                store.append(_empty_chunk(store, missing, stop))  # the run ends in a gap
    return done


def _open_source(
    store: FeatureStore, job: DecodeJob, first: int, stop: int | None
) -> VideoSource | InputSource:
    layout = store.require_layout()
    known_pts, seekable = _landmark(store, first)
    first_index = first * layout.chunk_tokens if seekable else 0
    return open_inputs(
        job.path,
        job.sampling,
        job.shape,
        fit=Bars(*layout.bars).without(frame_fit(job.preprocess)),
        interpolation=job.preprocess.interpolation,
        chunk_size=layout.batch_size,
        first_index=first_index,
        stop_index=None if stop is None else stop * layout.chunk_tokens,
        before=_stretch_before(store, first) if first_index else None,
        span=job.span,
        known_pts=known_pts,
        stream=job.stream,
        examined=job.examined,
        decoders=DECODERS if job.hardware else job.decoders,
        hardware=job.hardware,
    )


def _stretch_before(store: FeatureStore, first: int) -> TokenTimes:
    """Return the stored gap-free tokens that end at chunk ``first``."""
    stored = [chunk.times for number, chunk in sorted(store.index().items()) if number < first]
    times = TokenTimes.concatenate(stored)
    runs = gap_free_runs(times)
    return times[runs[-1]] if runs else times


def _landmark(store: FeatureStore, first: int) -> tuple[int | None, bool]:
    """Return the pts of the last stored token before chunk ``first``, and whether a seek there
    is safe.

    After damage or a gap the frames depend on the decoder's past, so such a file is read from
    its start.
    """
    chunk_tokens = store.require_layout().chunk_tokens
    known_pts = None
    for number, chunk in store.index().items():
        if number >= first:
            continue
        indices = chunk.times.indices
        whole = len(indices) > 0 and indices[-1] == (number + 1) * chunk_tokens - 1
        if chunk.stats != DecodeStats() or not whole or (np.diff(indices) != 1).any():
            return None, False
        if number == first - 1:
            known_pts = int(chunk.times.pts[-1])
    return known_pts, True


def _timed(batches: Iterator[FrameChunk], facts: DecodeFacts) -> Iterator[FrameChunk]:
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        facts.seconds_waiting_for_frames += time.perf_counter() - began
        if batch is None:
            return
        yield batch


def _reported(
    batches: Iterator[EncodedBatch], progress: Progress, done: int
) -> Iterator[EncodedBatch]:
    """Report each finished batch to ``progress``: a chunk may take minutes."""
    for batch in batches:
        yield batch
        done += len(batch.times)
        progress.advance(done)


def _assemble(
    store: FeatureStore, batches: Iterator[EncodedBatch], first: int
) -> Iterator[StoredChunk]:
    """Join backbone batches into chunks of the store. A gap of any length is one empty chunk."""
    chunk_tokens = store.require_layout().chunk_tokens
    number = first
    for current, group in itertools.groupby(batches, lambda b: b.first_index // chunk_tokens):
        if current > number:
            yield _empty_chunk(store, number, current)
        values: list[FloatArray] = []
        times: list[TokenTimes] = []
        stats = DecodeStats()
        for batch in group:
            values.append(batch.values)
            times.append(batch.times)
            stats += batch.stats
        yield StoredChunk(
            current * chunk_tokens,
            (current + 1) * chunk_tokens,
            np.concatenate(values),
            TokenTimes.concatenate(times),
            persistent_stats(stats),
        )
        number = current + 1


def _empty_chunk(store: FeatureStore, first: int, stop: int) -> StoredChunk:
    """Return an empty chunk for the grid from chunk ``first`` to ``stop``, which lies in a gap."""
    layout = store.require_layout()
    return StoredChunk(
        first * layout.chunk_tokens,
        stop * layout.chunk_tokens,
        np.empty((0, layout.num_features), np.float32),
        TokenTimes.empty(),
        DecodeStats(),
    )


def _end_record(store: FeatureStore, summary: DecodeSummary) -> EndRecord:
    ends = [int(c.times.indices[-1]) + 1 for c in store.index().values() if len(c.times)]
    # A pass that did not begin at the start of the file was preceded by clean chunks only
    # (see _landmark), so its counts are those of the whole video.
    return end_record(max(ends, default=0), summary)


def end_record(stop_index: int, summary: DecodeSummary) -> EndRecord:
    """Return the record of the end of the video, for a pass that reached it."""
    return EndRecord(
        stop_index=stop_index,
        end_seconds=summary.end_seconds,
        stats=persistent_stats(summary.stats),
        problems=summary.end_problems,
        warnings=summary.warnings,
    )
