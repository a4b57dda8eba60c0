"""Extract the features of one video into the store: the spatial half of chunked inference.

path -> examine -> key -> store -> decode what is missing -> FeatureSequence (paper section 3.4).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.config.runtime import default_cache_dir
from vtnstream.encoding.engines.protocols import Encoder
from vtnstream.encoding.engines.state import EngineState
from vtnstream.encoding.run_facts import RunFacts, StoreFacts
from vtnstream.encoding.store_filling import DecodeFacts, fill_store
from vtnstream.encoding.store_session import Opened, Opening
from vtnstream.encoding.stored import (
    ExtractedFeatures,
    chunk_range,
    extracted,
    missing_runs,
    stored_backend,
)
from vtnstream.errors import VideoError
from vtnstream.features.cache import (
    FeatureCache,
    record_full_hash,
    temporary_cache,
)
from vtnstream.features.key import FileState, full_sha256
from vtnstream.features.store import FeatureStore, StoredFeatures
from vtnstream.progress import NullProgress, Progress
from vtnstream.transport.address import is_address, shown_name
from vtnstream.types import TimeRange
from vtnstream.video.decoding.hardware import NVDEC, HardwareRefusedError
from vtnstream.video.probe import examine


@contextmanager
def extract_features(
    path: str | Path,
    encoder: Encoder,
    sampling: SamplingConfig,
    *,
    span: TimeRange | None = None,
    runtime: RuntimeConfig | None = None,
    stream: int | None = None,
    progress: Progress | None = None,
    engines: EngineState | None = None,
) -> Iterator[ExtractedFeatures]:
    """Take the features of a video from the store, and decode the missing ones.

    An interrupted call leaves a store from which the next call resumes. The store cannot be
    pruned while the context is open.

    Args:
        path: the video.
        encoder: frames to features.
        sampling: which frames.
        span: the range of source time; None is the whole video.
        runtime: backend, batch size, cache.
        stream: index of the video stream if a file has several.
        progress: receives the state of the work.
        engines: engines of this encoder that were prepared for earlier videos.

    Raises:
        VideoError: the video cannot be opened, or no frame of the range could be decoded.
        StoreError: features cannot be stored.
    """
    span = span or TimeRange()
    runtime = runtime or RuntimeConfig()
    encoder.shape.check(sampling)
    progress = progress or NullProgress()
    began = time.perf_counter()
    state = FileState.of(path)
    with ExitStack() as stack:
        examined = examine(path, stream=stream, leave_open=True)
        stack.callback(examined.close)
        chosen = encoder.engines(runtime, progress, engines)
        stack.enter_context(chosen.state.extracting())
        cache = (
            FeatureCache(runtime.cache_dir or default_cache_dir())
            if runtime.use_cache
            else stack.enter_context(temporary_cache())
        )
        opening = Opening(path, state, examined, sampling, span, stream, cache, chosen)
        opened, facts = _filled(stack, opening, progress)
        examined.close()
        store = opened.store
        chosen.note_run(opened.facts.backend, facts.num_tokens, facts.seconds_in_backbone)
        if runtime.use_cache:
            store.lock.try_acquire(exclusive=False)  # others may read along from here on
            if facts.num_tokens:
                cache.make_room(
                    runtime.cache_limit_bytes, 4 * facts.num_tokens * encoder.num_features
                )
        yield extracted(
            store,
            path,
            examined.info,
            sampling,
            span,
            lambda features: _facts(facts, features, opened, time.perf_counter() - began),
        )


def is_stored(
    path: str | Path,
    encoder: Encoder,
    sampling: SamplingConfig,
    runtime: RuntimeConfig,
    *,
    stream: int | None = None,
) -> bool:
    """Return whether the store holds all features of a video, so that :func:`extract_features`
    decodes nothing.

    Args:
        path, encoder, sampling, runtime, stream: as for :func:`extract_features`.

    Raises:
        VideoError: the video cannot be opened.
        StoreError: the store cannot be read.
    """
    state = FileState.of(path)
    examined = examine(path, stream=stream)
    engines = encoder.engines(runtime, NullProgress())
    cache = FeatureCache(runtime.cache_dir or default_cache_dir())
    opening = Opening(path, state, examined, sampling, TimeRange(), stream, cache, engines)
    found = stored_backend(cache, opening.key, engines.candidates(), runtime.backend)
    if found is None:
        return False
    with cache.open(opening.key(found[0]), state) as store:
        return store.layout is not None and not missing_runs(
            store, *chunk_range(store, sampling, TimeRange())
        )


def _filled(stack: ExitStack, opening: Opening, progress: Progress) -> tuple[Opened, DecodeFacts]:
    """Return the store with the range in it. If NVDEC fails, its features are discarded and
    software decodes the video from the beginning."""
    with ExitStack() as attempt:
        opened = attempt.enter_context(opening.opened())
        try:
            facts = _fill(opened, opening.state, progress)
        except HardwareRefusedError as error:
            opening = replace(opening, refused=f"{NVDEC} failed: {error}")
        else:
            stack.push(attempt.pop_all())
            return opened, facts
    opened = stack.enter_context(opening.opened())
    return opened, _fill(opened, opening.state, progress)


def _fill(opened: Opened, state: FileState, progress: Progress) -> DecodeFacts:
    """Complete the range in the store, and hash a large file while it is decoded."""
    store, job = opened.store, opened.job
    # A remote file is identified by the version that its server states.
    unhashed = store.video_sha256 is None and not is_address(job.path)
    hashing = _FullHash(job.path) if unhashed else None
    progress.start(shown_name(job.path), total=opened.num_expected, unit="frames")
    try:
        facts = fill_store(store, job, opened.first_chunk, opened.stop_chunk, progress)
    finally:
        progress.finish()
    _check_unchanged(store, job.path, state, hashing)
    return facts


def _check_unchanged(
    store: FeatureStore, path: str | Path, state: FileState, hashing: _FullHash | None
) -> None:
    same = not FileState.of(path).was_written_since(state)
    if same and hashing is not None:
        same = record_full_hash(store, state, hashing.result())
    if not same:
        for file in store.directory.glob("*.*"):
            file.unlink(missing_ok=True)
        raise VideoError(
            f"{path}: the file changed while it was read; run again when it is complete"
        )


class _FullHash:
    """Hash a whole file in a thread beside the decoder, which has put it into the page cache."""

    def __init__(self, path: str | Path) -> None:
        self._path = path
        self._result: str | None = None
        self._error: VideoError | None = None
        self._thread = threading.Thread(target=self._run, name="vtnstream-hash", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._result = full_sha256(self._path)
        except VideoError as error:
            self._error = error

    def result(self) -> str:
        self._thread.join()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result


def _facts(
    facts: DecodeFacts, features: StoredFeatures, opened: Opened, seconds: float
) -> RunFacts:
    store = opened.store
    return RunFacts(
        tokens=len(features.times),
        features=features.num_features,
        from_store=facts.num_tokens == 0,
        frames_decoded=facts.num_frames_decoded,
        bars=store.require_layout().bars or None,
        stored=StoreFacts(
            tokens_encoded=facts.num_tokens,
            extract_seconds=round(seconds, 3),
            decode_wait_seconds=round(facts.seconds_waiting_for_frames, 3),
            backbone_seconds=round(facts.seconds_in_backbone, 3),
            store=str(store.directory),
            video_sha256=store.video_sha256,
        ),
        runtime=opened.facts,
        video_blocks_sha256=store.key.video.blocks_sha256,
    )
