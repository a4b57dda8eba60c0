"""Split long videos into ranges for several workers, and join the results.

Workers exchange chunks of the feature store, which are immutable, checksummed and identical
whichever worker computes them. Each worker computes a range of whole chunks and writes them to the
storage. The worker that finishes the video copies them into its own store and then analyses the
video like any command, which computes missing or damaged chunks. The result is therefore
bit-identical to that of one process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from vtnstream.batch.storage import Storage
from vtnstream.batch.workers.executor import Result
from vtnstream.batch.workers.executors import AnalysisExecutor, ExtractExecutor
from vtnstream.batch.workers.outcome import Task
from vtnstream.config import RuntimeConfig
from vtnstream.errors import StoreError, VideoError
from vtnstream.progress import NullProgress, Progress

if TYPE_CHECKING:
    from vtnstream.encoding.store_session import Opened
    from vtnstream.features.cache import FeatureCache
    from vtnstream.features.chunk import StoredChunk
    from vtnstream.features.store import FeatureStore

RangeExecutor = AnalysisExecutor | ExtractExecutor

_END = "end.json"


@dataclass(frozen=True, slots=True)
class RangePlan:
    """The split of a video into ranges.

    Attributes:
        sha256: SHA-256 of the whole file, so that features of another video are never used.
        folder: folder of its chunks in the storage.
        ranges: ranges ``[first, stop)`` of chunk numbers to compute, without ranges already stored.
        backend, batch_size, decoder: settings for all ranges. They must be equal, because another
            batch size rounds differently.
    """

    sha256: str
    folder: str
    ranges: tuple[tuple[int, int], ...]
    backend: str
    batch_size: int
    decoder: str

    def pin(self, runtime: RuntimeConfig) -> RuntimeConfig:
        """Return ``runtime`` with the settings of the plan in place of ``auto``."""
        return dataclasses.replace(
            runtime, backend=self.backend, batch_size=self.batch_size, decoder=self.decoder
        )


@contextmanager
def _opened(
    executor: RangeExecutor, path: str, cache: FeatureCache, plan: RangePlan | None = None
) -> Iterator[Opened]:
    """Open the store of a whole video for the settings of an executor. A plan overrides backend,
    batch size and decoder, and its file hash is recorded.

    Raises:
        VideoError: the video cannot be opened.
        StoreError: the store cannot be opened.
    """
    from vtnstream.encoding.store_session import Opening
    from vtnstream.features.cache import record_full_hash
    from vtnstream.features.key import FileState
    from vtnstream.types import TimeRange
    from vtnstream.video.probe import examine

    runtime = executor.runtime if plan is None else plan.pin(executor.runtime)
    state = FileState.of(path)
    stream = executor.part.stream
    engines = executor.encoder.engines(runtime, NullProgress())
    opening = Opening(
        path,
        state,
        examine(path, stream=stream),
        executor.sampling,
        TimeRange(),
        stream,
        cache,
        engines,
    )
    with opening.opened() as opened:
        if plan is not None:
            record_full_hash(opened.store, state, plan.sha256)
        yield opened


def plan_ranges(
    executor: RangeExecutor, path: str, storage: Storage, range_seconds: float
) -> RangePlan | None:
    """Plan the ranges of a video; None if it is too short, or if its sampling grid depends on the
    range.

    Raises:
        VtnstreamError: the video cannot be opened, or the requested part is invalid.
    """
    from vtnstream.features.cache import temporary_cache
    from vtnstream.features.key import full_sha256
    from vtnstream.features.store import chunk_name

    if not executor.splits or executor.sampling.kind != "rate" or executor.encoder.shape.clip:
        return None
    if not _is_long(executor, path, range_seconds):
        return None
    with temporary_cache() as cache, _opened(executor, path, cache) as opened:
        key, layout = opened.store.key, opened.store.require_layout()
    cuts = _boundaries(executor, path, layout.chunk_tokens, range_seconds)
    if len(cuts) <= 2:
        return None
    sha256 = full_sha256(path)
    folder = f"features/{key.digest}-{sha256[:16]}"
    there = storage.sizes(folder)
    ranges = [
        (first, stop)
        for first, stop in pairwise(cuts)
        if _END not in there and any(chunk_name(n) not in there for n in range(first, stop))
    ]
    batch_frames = layout.batch_size * executor.encoder.shape.burst.frames
    backend = key.backend.partition(":")[0]
    return RangePlan(sha256, folder, tuple(ranges), backend, batch_frames, key.decoder)


def _is_long(executor: RangeExecutor, path: str, range_seconds: float) -> bool:
    """Return whether the requested part is longer than one range, according to the header."""
    from vtnstream.inference.request import time_range
    from vtnstream.video.probe import probe

    part = executor.part
    span = time_range(path, part.start, part.end, part.stream)
    until = span.end or probe(path, stream=part.stream).duration_from_header
    return until is not None and until - span.start > range_seconds


def _boundaries(
    executor: RangeExecutor, path: str, chunk_tokens: int, range_seconds: float
) -> list[int]:
    """Return the chunk numbers at the boundaries of the ranges, including start and end,
    according to the header."""
    from vtnstream.inference.request import time_range
    from vtnstream.video.probe import probe
    from vtnstream.video.sampling.grid import estimate_num_tokens, index_range

    part = executor.part
    span = time_range(path, part.start, part.end, part.stream)
    first, _ = index_range(executor.sampling, span)
    info = probe(path, stream=part.stream)
    tokens = estimate_num_tokens(info, executor.sampling, span) or 0
    stop = ceil((first + tokens) / chunk_tokens)
    step = max(1, round(Fraction(range_seconds) * executor.sampling.fps / chunk_tokens))
    return [*range(first // chunk_tokens, stop, step), stop]


def fill_range(
    executor: RangeExecutor, path: str, plan: RangePlan, numbers: tuple[int, int], storage: Storage
) -> None:
    """Compute the chunks ``[first, stop)`` and write them to the storage.

    Errors of reading are ignored here; the worker that finishes the video reports them.

    Raises:
        OutputError: the storage cannot be written.
    """
    from vtnstream.encoding.store_filling import fill_store
    from vtnstream.features.cache import temporary_cache
    from vtnstream.features.key import FileState

    first, stop = numbers
    try:
        state = FileState.of(path)
        with temporary_cache() as cache, _opened(executor, path, cache, plan) as opened:
            store = opened.store
            if not plan.folder.startswith(f"features/{store.key.digest}-"):
                return  # the file has changed, or the compiled engine was rejected here
            fill_store(store, opened.job, first, stop, NullProgress())
            if FileState.of(path) != state:
                return
            for number in store.chunk_numbers():
                if first <= number < stop:
                    chunk = store.chunk_path(number)
                    storage.put(f"{plan.folder}/{chunk.name}", chunk)
    except (VideoError, StoreError):
        return


def finish(
    executor: RangeExecutor, task: Task, plan: RangePlan, storage: Storage, progress: Progress
) -> Result:
    """Process a video some of whose ranges were computed by other workers.

    Raises:
        VtnstreamError: as :meth:`vtnstream.batch.workers.executor.Executor.run`.
    """
    from vtnstream.features.cache import temporary_cache

    runtime = executor.runtime
    taken: Mapping[str, int] = {}
    with temporary_cache() as cache:
        with _opened(executor, task.path, cache, plan) as opened:
            if plan.folder.startswith(f"features/{opened.store.key.digest}-"):
                taken = _copy_from_storage(opened.store, plan, storage)
        executor.runtime = dataclasses.replace(
            plan.pin(runtime), use_cache=True, cache_dir=cache.root.parent
        )
        try:
            result = executor.run(task, progress)
        finally:
            executor.runtime = runtime
        if not runtime.use_cache:
            for name in storage.sizes(plan.folder):
                storage.delete(f"{plan.folder}/{name}")
        elif taken:
            with _opened(executor, task.path, cache, plan) as opened:
                _copy_to_storage(opened.store, plan, storage, taken)
    return result


def _copy_from_storage(store: FeatureStore, plan: RangePlan, storage: Storage) -> Mapping[str, int]:
    """Copy valid chunks from the storage into the store; return their names and sizes.

    After damage or a gap, frames depend on what was decoded before, which a range does not know.
    Chunks after the first one with damage or a gap are therefore left out, unless the whole
    video was finished before.
    """
    from vtnstream.atomic import whole_file

    there = storage.sizes(plan.folder)
    end = storage.read(f"{plan.folder}/{_END}") if _END in there else None
    taken: dict[str, int] = {}
    for name in there:
        if name == _END:
            continue
        chunk = _parse(storage.read(f"{plan.folder}/{name}"), name, store)
        if chunk is None:
            end = None
            break
        store.append(chunk)
        taken[name] = there[name]
        if end is None and not _is_clean(chunk, store.require_layout().chunk_tokens):
            break
    if end is not None:
        with whole_file(store.directory / _END) as file:
            file.write(end)
        taken[_END] = len(end)
    return taken


def _parse(data: bytes | None, name: str, store: FeatureStore) -> StoredChunk | None:
    """Parse a chunk; None if it is missing, damaged or at another position of the grid."""
    from vtnstream.features.chunk import StoredChunk
    from vtnstream.features.store import chunk_name

    try:
        chunk = StoredChunk.from_bytes(data or b"", name)
    except StoreError:
        return None
    number, rest = divmod(chunk.first_index, store.require_layout().chunk_tokens)
    return chunk if not rest and name == chunk_name(number) else None


def _is_clean(chunk: StoredChunk, chunk_tokens: int) -> bool:
    from vtnstream.types import DecodeStats

    indices = chunk.times.indices
    whole = chunk.first_index + chunk_tokens == chunk.stop_index
    return chunk.stats == DecodeStats() and whole and len(indices) == chunk_tokens


def _copy_to_storage(
    store: FeatureStore, plan: RangePlan, storage: Storage, taken: Mapping[str, int]
) -> None:
    """Copy all chunks to the storage, then the end record, which marks the chunks as complete."""
    paths: list[Path] = [store.chunk_path(number) for number in store.chunk_numbers()]
    if store.end() is not None:
        paths.append(store.directory / _END)
    for path in paths:
        if taken.get(path.name) != path.stat().st_size:
            storage.put(f"{plan.folder}/{path.name}", path)
