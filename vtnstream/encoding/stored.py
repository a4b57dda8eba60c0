"""What the feature store holds of a request, and what follows from it; without torch.

A request whose features are complete is answered from here, whether or not a backbone is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from vtnstream.config import RuntimeConfig, SamplingConfig
from vtnstream.encoding.clips import FRAMES, InputShape
from vtnstream.encoding.partial import partial_result
from vtnstream.encoding.run_facts import RunFacts
from vtnstream.errors import UsageError, VideoDecodeError
from vtnstream.features.cache import FeatureCache
from vtnstream.features.key import FeatureKey, video_identity
from vtnstream.features.store import EndRecord, FeatureStore, StoredFeatures
from vtnstream.models.long_sequence.output import SequenceOutput
from vtnstream.transport.address import shown
from vtnstream.types import FeatureSequence, FrameIndex, Partial, TimeRange, TokenTimes, VideoInfo
from vtnstream.video.decoding.hardware import NVDEC
from vtnstream.video.decoding.reader import DECODER
from vtnstream.video.sampling.counting import frames_up_to
from vtnstream.video.sampling.grid import index_range


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedFeatures:
    """Features of one video with the facts for its report, valid while the context that made
    them is open.

    Attributes:
        features: the tokens of the requested range.
        info: the header of the video.
        partial: why the range is incomplete, or None.
        warnings: one sentence each.
        facts: counts and seconds for the report.
        output: the pass over the whole sequence, if it was made before (end-to-end).
        frames: numbers of the frames up to the end of the range, where they could be counted.
        store: where the features are, if they are stored.
    """

    features: FeatureSequence
    info: VideoInfo
    partial: Partial | None
    warnings: tuple[str, ...]
    facts: RunFacts
    output: SequenceOutput | None = None
    frames: FrameIndex | None = None
    store: FeatureStore | None = None

    def named(self, path: str | Path, place: str | Path) -> Self:
        """Return the features under the name ``path`` that the user gave, although the file was
        read at ``place``, and with the hash of that file."""
        facts = self.facts
        if facts.video_blocks_sha256 is None:
            facts = replace(facts, video_blocks_sha256=video_identity(place).blocks_sha256)
        return replace(self, info=replace(self.info, path=shown(str(path))), facts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedFeatures(OpenedFeatures):
    """Features of one video in its store.

    Attributes:
        span: the requested range of source time.
        end_seconds: end of the video in seconds, if it was reached.
        provenance: key fields and hashes of the features.
    """

    span: TimeRange
    end_seconds: float | None
    provenance: dict[str, Any]


def extracted(
    store: FeatureStore,
    path: str | Path,
    info: VideoInfo,
    sampling: SamplingConfig,
    span: TimeRange,
    facts: Callable[[StoredFeatures], RunFacts],
) -> ExtractedFeatures:
    """Describe the features of a range that is complete in its store.

    Args:
        store: open and locked.
        path, info: the video and its header.
        sampling, span: which frames.
        facts: makes the facts of the run.

    Raises:
        VideoDecodeError: the range holds no frame.
    """
    first, stop = index_range(sampling, span)
    features = store.sequence(first, stop)
    end = store.end()
    if not len(features.times):
        raise VideoDecodeError(_no_frame_error(path, info, sampling, span, end))
    return ExtractedFeatures(
        features=features,
        info=info,
        span=span,
        end_seconds=end.end_seconds if end else None,
        partial=partial_result(features.times, features.stats, info, sampling, span, end),
        warnings=info.warnings + (end.warnings if end else ()),
        facts=facts(features),
        frames=_frames(store, path, info, features.times),
        provenance={
            **store.key.as_dict(),
            "time_base": str(info.time_base),
            "start_seconds": str(info.start_seconds),
            "video_sha256": store.video_sha256,
            "batch_size": store.require_layout().batch_size,
        },
        store=store,
    )


def _frames(
    store: FeatureStore, path: str | Path, info: VideoInfo, times: TokenTimes
) -> FrameIndex | None:
    """Return the numbers of the frames.

    The decoder counts them. If it began in the middle or decoded several parts at a time, they
    are counted from the packets.
    """
    known = store.frames()
    found = frames_up_to(path, info, times, known)
    if found is not None and found is not known:
        store.number_frames(found)
    return found


def _no_frame_error(
    path: str | Path,
    info: VideoInfo,
    sampling: SamplingConfig,
    span: TimeRange,
    end: EndRecord | None,
) -> str:
    if span != TimeRange():
        length = end.end_seconds if end else info.duration_from_header
        there = f"; the video ends at {float(length):.2f} s" if length is not None else ""
        return f"{path}: no frame in the requested range{there}: choose another --start / --end"
    reason = "it holds no usable frame"
    if end and end.problems:
        reason = "; ".join(end.problems)
    elif end and end.end_seconds:
        reason = (
            f"none is on screen at a sampling time (it ends at {end.end_seconds:.2f} s): "
            "use a higher --fps or --sample all"
        )
    return f"{path}: no frame could be sampled at {sampling.describe()}: {reason}"


def missing_runs(
    store: FeatureStore, first_chunk: int, stop_chunk: int | None
) -> list[tuple[int, int | None]]:
    """Return runs ``[first, stop)`` of missing chunks; ``stop`` None is the end of the video."""
    chunk_tokens = store.require_layout().chunk_tokens
    end = store.end()
    if end is not None:
        last = -(-end.stop_index // chunk_tokens)
        stop_chunk = last if stop_chunk is None else min(stop_chunk, last)
    runs: list[tuple[int, int | None]] = []
    position = first_chunk
    for number, chunk in sorted(store.index().items()):
        if stop_chunk is not None and number >= stop_chunk:
            break
        if number > position:
            runs.append((position, number))
        position = max(position, -(-chunk.stop_index // chunk_tokens))
    if stop_chunk is None or position < stop_chunk:
        runs.append((position, stop_chunk))
    return runs


def chunk_range(
    store: FeatureStore, sampling: SamplingConfig, span: TimeRange
) -> tuple[int, int | None]:
    """Return the chunks ``[first, stop)`` of a range; ``stop`` None is the end of the video."""
    first, stop = index_range(sampling, span)
    chunk_tokens = store.require_layout().chunk_tokens
    return first // chunk_tokens, None if stop is None else -(-stop // chunk_tokens)


def stored_backend(
    cache: FeatureCache, key: Callable[[str], FeatureKey], candidates: Iterable[str], asked: str
) -> tuple[str, str] | None:
    """Return the backend with the most stored chunks, and why it is chosen; None if there are
    none.

    Args:
        cache: the feature stores.
        key: of the features of a backend.
        candidates: backends that satisfy the request, the preferred one first.
        asked: the backend that the user named, or ``auto``.
    """
    chunks = {name: cache.num_chunks(key(name)) for name in candidates}
    most = max(chunks, key=lambda name: chunks[name])
    if not chunks[most]:
        return None
    return most, "features of it are stored" if asked == "auto" else "requested"


def reason_for_software(runtime: RuntimeConfig) -> str:
    """Return why software decodes for a backbone on the CPU.

    Raises:
        UsageError: NVDEC was requested.
    """
    if runtime.decoder == DECODER:
        return "requested"
    if runtime.decoder == NVDEC:
        raise UsageError("--decoder nvdec: the backbone runs on the CPU; choose --device cuda")
    return "the backbone runs on the CPU"


def sampling_grid(
    sampling: SamplingConfig, span: TimeRange, shape: InputShape = FRAMES
) -> dict[str, Any]:
    """Return what decides the sampling grid of a range. With a rate all ranges share one grid;
    for other kinds, and for clips, the range is part of the grid."""
    grid = {**sampling.key(), **shape.key()}
    if (sampling.kind != "rate" or shape.clip) and span != TimeRange():
        grid["span"] = span_text(span)
    return grid


def span_text(span: TimeRange) -> list[str | None]:
    """Return a range as JSON data."""
    return [str(span.start), None if span.end is None else str(span.end)]
