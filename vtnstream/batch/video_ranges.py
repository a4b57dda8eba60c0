"""Long videos cut at the sampling grid, for several workers, and put together again.

The chunks of the feature store are the parts that travel: immutable, checksummed, the same
bytes whoever made them. Ranges of whole chunks are computed anywhere and put into the results'
storage; whoever finishes the video takes them into a store of its own and goes the way every
command goes, which computes what is missing or cannot be trusted. So the result is that of one
process, to the last bit.
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
from vtnstream.batch.workers.executors import AnalysisEngine, ExtractEngine
from vtnstream.batch.workers.outcome import Task
from vtnstream.config import RuntimeConfig
from vtnstream.errors import StoreError, VideoError
from vtnstream.progress import NullProgress, Progress

if TYPE_CHECKING:
    from vtnstream.encoding.store_session import Opened
    from vtnstream.features.cache import FeatureCache
    from vtnstream.features.chunk import StoredChunk
    from vtnstream.features.store import FeatureStore

RangeEngine = AnalysisEngine | ExtractEngine

_END = "end.json"


@dataclass(frozen=True, slots=True)
class RangePlan:
    """How a video is cut.

    Attributes:
        sha256: of the whole file; features of another film are never met.
        folder: where its chunks lie in the storage.
        ranges: chunk numbers ``[first, stop)`` to be computed, those that are there left out.
        backend, batch_size, decoder: what was chosen for it, the same for every range: batches
            of another size round otherwise.
    """

    sha256: str
    folder: str
    ranges: tuple[tuple[int, int], ...]
    backend: str
    batch_size: int
    decoder: str

    def pin(self, runtime: RuntimeConfig) -> RuntimeConfig:
        """``runtime`` with nothing left to choose."""
        return dataclasses.replace(
            runtime, backend=self.backend, batch_size=self.batch_size, decoder=self.decoder
        )


@contextmanager
def _opened(
    engine: RangeEngine, path: str, cache: FeatureCache, plan: RangePlan | None = None
) -> Iterator[Opened]:
    """The store of a whole video under the settings of an engine. With a plan its backend and
    batches are those of the plan, and so is the hash of the file.

    Raises:
        VideoError: it cannot be opened.
        StoreError: the store cannot be.
    """
    from vtnstream.encoding.encoder import limit_threads
    from vtnstream.encoding.engines.choose import Engines
    from vtnstream.encoding.store_session import Opening
    from vtnstream.features.cache import record_full_hash
    from vtnstream.features.key import FileState
    from vtnstream.types import TimeRange
    from vtnstream.video.probe import examine

    runtime = engine.runtime if plan is None else plan.pin(engine.runtime)
    limit_threads(runtime)
    state = FileState.of(path)
    stream = engine.part.stream
    engines = Engines(engine.encoder, runtime, NullProgress())
    opening = Opening(
        path,
        state,
        examine(path, stream=stream),
        engine.sampling,
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
    engine: RangeEngine, path: str, storage: Storage, range_seconds: float
) -> RangePlan | None:
    """How to cut a video; None where it is short, or sampled on no grid that ranges share.

    Raises:
        VtnstreamError: it cannot be opened, or the range asked for is none.
    """
    from vtnstream.features.cache import temporary_cache
    from vtnstream.features.key import full_sha256
    from vtnstream.features.store import chunk_name

    if not engine.splits or engine.sampling.kind != "rate" or engine.encoder.shape.clip:
        return None
    if not _lasts(engine, path, range_seconds):
        return None
    with temporary_cache() as cache, _opened(engine, path, cache) as opened:
        key, layout = opened.store.key, opened.store.require_layout()
    cuts = _cuts(engine, path, layout.chunk_tokens, range_seconds)
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
    batch_frames = layout.batch_size * engine.encoder.shape.burst.frames
    backend = key.backend.partition(":")[0]
    return RangePlan(sha256, folder, tuple(ranges), backend, batch_frames, key.decoder)


def _lasts(engine: RangeEngine, path: str, range_seconds: float) -> bool:
    """Whether the header promises more than one range: only then it is looked at closer."""
    from vtnstream.inference.request import time_range
    from vtnstream.video.probe import probe

    part = engine.part
    span = time_range(path, part.start, part.end, part.stream)
    until = span.end or probe(path, stream=part.stream).duration_from_header
    return until is not None and until - span.start > range_seconds


def _cuts(engine: RangeEngine, path: str, chunk_tokens: int, range_seconds: float) -> list[int]:
    """Numbers of the chunks between which the part that is asked for is cut, its end included;
    by the header's word."""
    from vtnstream.inference.request import time_range
    from vtnstream.video.probe import probe
    from vtnstream.video.sampling.grid import estimate_num_tokens, index_range

    part = engine.part
    span = time_range(path, part.start, part.end, part.stream)
    first, _ = index_range(engine.sampling, span)
    info = probe(path, stream=part.stream)
    tokens = estimate_num_tokens(info, engine.sampling, span) or 0
    stop = ceil((first + tokens) / chunk_tokens)
    step = max(1, round(Fraction(range_seconds) * engine.sampling.fps / chunk_tokens))
    return [*range(first // chunk_tokens, stop, step), stop]


def fill_range(
    engine: RangeEngine, path: str, plan: RangePlan, numbers: tuple[int, int], storage: Storage
) -> None:
    """Compute the chunks ``[first, stop)`` and put them into the storage.

    A range that cannot be read is left to whoever finishes the video and meets it again.

    Raises:
        OutputError: the storage cannot be written.
    """
    from vtnstream.encoding.store_filling import fill_store
    from vtnstream.features.cache import temporary_cache
    from vtnstream.features.key import FileState

    first, stop = numbers
    try:
        state = FileState.of(path)
        with temporary_cache() as cache, _opened(engine, path, cache, plan) as opened:
            store = opened.store
            if not plan.folder.startswith(f"features/{store.key.digest}-"):
                return  # another file by now, or an engine that was refused here
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
    engine: RangeEngine, task: Task, plan: RangePlan, storage: Storage, progress: Progress
) -> Result:
    """Do a video of which ranges were computed elsewhere.

    Raises:
        VtnstreamError: as :meth:`vtnstream.batch.workers.executor.Engine.run`.
    """
    from vtnstream.features.cache import temporary_cache

    runtime = engine.runtime
    taken: Mapping[str, int] = {}
    with temporary_cache() as cache:
        with _opened(engine, task.path, cache, plan) as opened:
            if plan.folder.startswith(f"features/{opened.store.key.digest}-"):
                taken = _pull(opened.store, plan, storage)
        engine.runtime = dataclasses.replace(
            plan.pin(runtime), use_cache=True, cache_dir=cache.root.parent
        )
        try:
            result = engine.run(task, progress)
        finally:
            engine.runtime = runtime
        if not runtime.use_cache:
            for name in storage.sizes(plan.folder):
                storage.delete(f"{plan.folder}/{name}")
        elif taken:
            with _opened(engine, task.path, cache, plan) as opened:
                _push(opened.store, plan, storage, taken)
    return result


def _pull(store: FeatureStore, plan: RangePlan, storage: Storage) -> Mapping[str, int]:
    """Take in the chunks that can be trusted; returns their names with their sizes.

    After damage or a gap the decoder's past matters, and a range has none. So chunks behind
    the first that is not clean are left out, unless the whole was put together before.
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
        if end is None and not _clean(chunk, store.require_layout().chunk_tokens):
            break
    if end is not None:
        with whole_file(store.directory / _END) as file:
            file.write(end)
        taken[_END] = len(end)
    return taken


def _parse(data: bytes | None, name: str, store: FeatureStore) -> StoredChunk | None:
    """A chunk of this store, None where it is absent, damaged or of another place."""
    from vtnstream.features.chunk import StoredChunk
    from vtnstream.features.store import chunk_name

    try:
        chunk = StoredChunk.from_bytes(data or b"", name)
    except StoreError:
        return None
    number, rest = divmod(chunk.first_index, store.require_layout().chunk_tokens)
    return chunk if not rest and name == chunk_name(number) else None


def _clean(chunk: StoredChunk, chunk_tokens: int) -> bool:
    from vtnstream.types import DecodeStats

    indices = chunk.times.indices
    whole = chunk.first_index + chunk_tokens == chunk.stop_index
    return chunk.stats == DecodeStats() and whole and len(indices) == chunk_tokens


def _push(store: FeatureStore, plan: RangePlan, storage: Storage, taken: Mapping[str, int]) -> None:
    """Leave the whole there, the end last: from then on it is trusted as it is."""
    paths: list[Path] = [store.chunk_path(number) for number in store.chunk_numbers()]
    if store.end() is not None:
        paths.append(store.directory / _END)
    for path in paths:
        if taken.get(path.name) != path.stat().st_size:
            storage.put(f"{plan.folder}/{path.name}", path)
