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

from vtnstream.batch.engine import Result
from vtnstream.batch.engines import AnalysisEngine, ExtractEngine
from vtnstream.batch.outcome import Task
from vtnstream.batch.storage import Storage
from vtnstream.errors import StoreError, VideoError
from vtnstream.progress import NullProgress, Progress

if TYPE_CHECKING:
    from vtnstream.features.cache import FeatureCache
    from vtnstream.features.chunk import StoredChunk
    from vtnstream.features.key import FeatureKey, FileState
    from vtnstream.features.store import FeatureStore, StoreLayout
    from vtnstream.types import VideoInfo

RangeEngine = AnalysisEngine | ExtractEngine

_END = "end.json"


@dataclass(frozen=True, slots=True)
class RangePlan:
    """How a video is cut.

    Attributes:
        sha256: of the whole file; features of another film are never met.
        folder: where its chunks lie in the storage.
        ranges: chunk numbers ``[first, stop)`` to be computed, those that are there left out.
    """

    sha256: str
    folder: str
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Video:
    """A video under the settings of an engine."""

    info: VideoInfo
    key: FeatureKey
    state: FileState
    layout: StoreLayout

    @classmethod
    def examine(cls, engine: RangeEngine, path: str) -> _Video:
        """Raises:
        VideoError: it cannot be opened.
        """
        from vtnstream.features.key import FileState
        from vtnstream.features.store import StoreLayout
        from vtnstream.inference.extract import feature_key
        from vtnstream.types import TimeRange
        from vtnstream.video.probe import probe

        state = FileState.of(path)
        info = probe(path, stream=engine.part.stream)
        key = feature_key(path, info, engine.encoder, engine.sampling, TimeRange())
        rate = float(engine.sampling.fps)
        layout = StoreLayout.plan(engine.encoder.num_features, engine.runtime.batch_size, rate)
        return cls(info, key, state, layout)


def plan_ranges(
    engine: RangeEngine, path: str, storage: Storage, range_seconds: float
) -> RangePlan | None:
    """How to cut a video; None where it is short, or sampled on no grid that ranges share.

    Raises:
        VtnstreamError: it cannot be opened, or the range asked for is none.
    """
    from vtnstream.features.key import full_sha256
    from vtnstream.features.store import chunk_name

    if not engine.splits or engine.sampling.kind != "rate":
        return None
    video = _Video.examine(engine, path)
    chunks = _chunks(engine, path, video)
    seconds = video.layout.chunk_tokens / engine.sampling.fps
    step = max(1, round(Fraction(range_seconds) / seconds))
    cuts = [*range(chunks.start, chunks.stop, step), chunks.stop]
    if len(cuts) <= 2:
        return None
    sha256 = full_sha256(path)
    folder = f"features/{video.key.digest}-{sha256[:16]}"
    there = storage.sizes(folder)
    ranges = [
        (first, stop)
        for first, stop in pairwise(cuts)
        if _END not in there and any(chunk_name(n) not in there for n in range(first, stop))
    ]
    return RangePlan(sha256, folder, tuple(ranges))


def _chunks(engine: RangeEngine, path: str, video: _Video) -> range:
    """Numbers of the chunks of the part that is asked for, by the header's word."""
    from vtnstream.inference.sources import time_range
    from vtnstream.video.sampling import estimate_num_tokens, index_range

    span = time_range(path, engine.part.start, engine.part.end, engine.part.stream)
    first, _ = index_range(engine.sampling, span)
    tokens = estimate_num_tokens(video.info, engine.sampling, span) or 0
    size = video.layout.chunk_tokens
    return range(first // size, ceil((first + tokens) / size))


def fill_range(
    engine: RangeEngine, path: str, plan: RangePlan, numbers: tuple[int, int], storage: Storage
) -> None:
    """Compute the chunks ``[first, stop)`` and put them into the storage.

    A range that cannot be read is left to whoever finishes the video and meets it again.

    Raises:
        OutputError: the storage cannot be written.
    """
    from vtnstream.features.cache import temporary_cache
    from vtnstream.features.key import FileState
    from vtnstream.inference.decoding import DecodeJob, fill_store
    from vtnstream.types import TimeRange

    first, stop = numbers
    try:
        video = _Video.examine(engine, path)
        with temporary_cache() as cache, _open(cache, video, plan) as store:
            part = engine.part
            job = DecodeJob(path, engine.encoder, engine.sampling, TimeRange(), part.stream)
            fill_store(store, job, first, stop, NullProgress())
            if FileState.of(path) != video.state:
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
        VtnstreamError: as :meth:`vtnstream.batch.engine.Engine.run`.
    """
    from vtnstream.features.cache import temporary_cache

    video = _Video.examine(engine, task.path)
    runtime = engine.runtime
    with temporary_cache() as cache:
        with _open(cache, video, plan) as store:
            taken = _pull(store, plan, storage)
        engine.runtime = dataclasses.replace(runtime, use_cache=True, cache_dir=cache.root.parent)
        try:
            result = engine.run(task, progress)
        finally:
            engine.runtime = runtime
        if not runtime.use_cache:
            for name in storage.sizes(plan.folder):
                storage.delete(f"{plan.folder}/{name}")
        elif cache.holds(video.key):
            with cache.open(video.key, video.state) as store:
                _push(store, plan, storage, taken)
    return result


@contextmanager
def _open(cache: FeatureCache, video: _Video, plan: RangePlan) -> Iterator[FeatureStore]:
    """A store of this video, whose hash is known."""
    from vtnstream.features.cache import record_full_hash

    with cache.open(video.key, video.state) as store:
        record_full_hash(store, video.state, plan.sha256)
        store.begin(video.layout)
        yield store


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
