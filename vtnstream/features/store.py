"""The feature store: one directory per video and settings, with immutable chunk files.

    store.json       the key, chunk size, batch size and D; written with the first chunk
    identity.json    the full hash of the video, and the files that had this hash
    00000000.safetensors ...   chunks, cut on the sampling grid
    end.json         written when the end of the video is reached
    frames.json      the frame numbers, once they are counted
    scores_*.safetensors       outputs of models (:mod:`vtnstream.features.scores`)

Chunks are written atomically and never change. A chunk with a wrong checksum counts as missing. An
interrupted run therefore resumes at the first missing chunk.
"""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtnstream.atomic import sync_file, whole_file
from vtnstream.errors import StoreError
from vtnstream.features.chunk import StoredChunk
from vtnstream.features.key import FeatureKey
from vtnstream.features.lock import StoreLock
from vtnstream.types import DecodeStats, FloatArray, FrameIndex, FrameRun, TokenTimes

_TARGET_BYTES = 2**20
_TARGET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """The layout of a store, recorded with the first chunk and then reused.

    Attributes:
        num_features: D.
        batch_size: grid positions per backbone batch; equal batches give bit-identical features.
        chunk_tokens: grid positions per chunk file, a multiple of ``batch_size``.
        bars: shares of the frame at its left, top, right and bottom that were left out; empty for
            none.
    """

    num_features: int
    batch_size: int
    chunk_tokens: int
    bars: tuple[float, ...] = ()

    @classmethod
    def plan(
        cls, num_features: int, batch_size: int, tokens_per_second: float | None
    ) -> StoreLayout:
        """Return a layout with chunks of whole batches, about 1 MB or 60 s, whichever is less."""
        tokens = _TARGET_BYTES / (4 * num_features)
        if tokens_per_second:
            tokens = min(tokens, _TARGET_SECONDS * tokens_per_second)
        batches = max(1, round(tokens / batch_size))
        return cls(num_features, batch_size, batches * batch_size)


@dataclass(frozen=True, slots=True)
class EndRecord:
    """Record that is written when the end of the video is reached."""

    stop_index: int
    """One past the last token's grid index."""
    end_seconds: float
    stats: DecodeStats
    """Decoding errors of the whole video, including those after the last token."""
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkInfo:
    """The part of a chunk that is kept in memory: its times and decoding errors. A chunk without
    tokens may represent a long gap; ``stop_index`` is the end of the gap. ``sha256`` is the
    checksum of the chunk."""

    stop_index: int
    times: TokenTimes
    stats: DecodeStats
    sha256: str

    @classmethod
    def of(cls, chunk: StoredChunk) -> ChunkInfo:
        return cls(chunk.stop_index, chunk.times, chunk.stats, chunk.sha256)


class FeatureStore:
    """Features of one video under one :class:`FeatureKey`.

    :class:`vtnstream.features.cache.FeatureCache` opens the store and holds its lock.

    Attributes:
        video_sha256: the full hash of the video, once it is recorded.
        layout: how the store is divided, once it has begun.
    """

    def __init__(
        self, directory: Path, key: FeatureKey, lock: StoreLock, video_sha256: str | None = None
    ) -> None:
        self.directory = directory
        self.key = key
        self.lock = lock
        self.video_sha256 = video_sha256
        self.layout = self._read_layout()
        self._index: dict[int, ChunkInfo] | None = None
        self._is_synced = False

    # ----------------------------------------------------------------------- contents

    def _read_layout(self) -> StoreLayout | None:
        data = read_json(self.directory / "store.json")
        if data is None:
            return None
        try:
            layout = data["layout"]
            return StoreLayout(**{**layout, "bars": tuple(layout.get("bars", ()))})
        except (KeyError, TypeError):
            return None

    def require_layout(self) -> StoreLayout:
        if self.layout is None:
            raise StoreError(f"{self.directory}: the feature store is empty")
        return self.layout

    def chunk_path(self, number: int) -> Path:
        return self.directory / chunk_name(number)

    def chunk_numbers(self) -> list[int]:
        """Return the numbers of the chunk files, damaged ones included."""
        return sorted(int(p.stem) for p in self.directory.glob("[0-9]*.safetensors"))

    def read_chunk(self, number: int) -> StoredChunk:
        """Read a chunk.

        Raises:
            StoreError: the chunk is missing or damaged.
        """
        path = self.chunk_path(number)
        try:
            data = _read(path)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        chunk = StoredChunk.from_bytes(data, str(path))
        if chunk.first_index != number * self.require_layout().chunk_tokens:
            raise StoreError(f"{path}: holds the tokens of another chunk")
        return chunk

    def index(self) -> Mapping[int, ChunkInfo]:
        """Return information on every valid chunk by number.

        The first call reads and checks each file, and removes damaged ones, which then count as
        missing.
        """
        if self._index is None:
            self._index = {}
            for number in self.chunk_numbers() if self.layout else ():
                try:
                    self._index[number] = ChunkInfo.of(self.read_chunk(number))
                except StoreError:
                    _discard(self.chunk_path(number))
        return self._index

    def end(self) -> EndRecord | None:
        """Return the end record, or None until the end of the video is reached."""
        data = read_json(self.directory / "end.json")
        if data is None:
            return None
        try:
            return EndRecord(
                int(data["stop_index"]),
                float(data["end_seconds"]),
                DecodeStats(**data["stats"]),
                tuple(data["problems"]),
                tuple(data["warnings"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def frames(self) -> FrameIndex | None:
        """Return the frame numbers of the video, or None if they were not counted yet."""
        data = read_json(self.directory / "frames.json")
        if data is None:
            return None
        try:
            runs = tuple(FrameRun(*map(int, run)) for run in data["runs"])
            return FrameIndex(runs, None if data["until"] is None else int(data["until"]))
        except (KeyError, TypeError, ValueError):
            return None

    # ------------------------------------------------------------------------ writing

    def begin(self, layout: StoreLayout) -> StoreLayout:
        """Record the layout before the first chunk; later calls return the recorded layout."""
        if self.layout is None:
            # If the record was lost, the layout of existing chunks is unknown.
            for path in (*map(self.chunk_path, self.chunk_numbers()), self.directory / "end.json"):
                path.unlink(missing_ok=True)
            self._index = None
            write_json(
                self.directory / "store.json",
                {"key": self.key.as_dict(), "layout": asdict(layout)},
                durable=False,
            )
            self.layout = layout
        return self.layout

    @property
    def is_durable(self) -> bool:
        """Whether a power failure must not lose what is stored: more than one chunk.

        Syncing the files of a short video would take longer than computing its features again.
        Files that a failure leaves empty or damaged have a wrong checksum and count as missing.
        """
        return len(self.index()) > 1

    def append(self, chunk: StoredChunk) -> None:
        """Write one chunk. The first one is synced to the disk when the second one follows.

        Raises:
            StoreError: the chunk cannot be written.
        """
        layout = self.require_layout()
        if chunk.first_index % layout.chunk_tokens or chunk.values.shape[1] != layout.num_features:
            raise StoreError(f"{self.directory}: the chunk does not match the store's layout")
        number = chunk.first_index // layout.chunk_tokens
        others = self.index().keys() - {number}
        if others and not self._is_synced:
            self._sync()
        publish(self.chunk_path(number), chunk.to_bytes(), durable=bool(others))
        if self._index is not None:
            self._index[number] = ChunkInfo.of(chunk)

    def _sync(self) -> None:
        """Sync the files that were written before the second chunk.

        Raises:
            StoreError: an I/O error.
        """
        try:
            for path in self.directory.iterdir():
                if path.suffix in (".json", ".safetensors"):
                    sync_file(path)
        except OSError as error:
            raise _cannot_store(self.directory, error) from error
        self._is_synced = True

    def finish(self, end: EndRecord) -> None:
        """Record the end of the video."""
        write_json(self.directory / "end.json", asdict(end), durable=self.is_durable)

    def number_frames(self, frames: FrameIndex) -> None:
        """Record the frame numbers of the video."""
        runs = [[run.first, run.count, run.first_tick, run.last_tick] for run in frames.runs]
        data = {"runs": runs, "until": frames.until}
        write_json(self.directory / "frames.json", data, durable=self.is_durable)

    # ------------------------------------------------------------------------ reading

    def sequence(self, first_index: int, stop_index: int | None) -> StoredFeatures:
        """Return the tokens with ``first_index <= index < stop_index`` as a feature sequence.

        Raises:
            StoreError: a chunk of that range is missing or damaged.
        """
        return StoredFeatures(self, first_index, stop_index)


class StoredFeatures:
    """A :class:`vtnstream.types.FeatureSequence` on disk. Times are kept in memory (32 bytes per
    token); features are read chunk by chunk and checked at each read. ``sha256`` is a hash of times
    and features."""

    def __init__(self, store: FeatureStore, first_index: int, stop_index: int | None) -> None:
        layout = store.require_layout()
        self._store = store
        self._parts: list[tuple[int, slice]] = []
        times: list[TokenTimes] = []
        self.stats = DecodeStats()
        digest = hashlib.sha256()
        for number, chunk in sorted(store.index().items()):
            start = number * layout.chunk_tokens
            if start + layout.chunk_tokens <= first_index:
                continue
            if stop_index is not None and start >= stop_index:
                break
            stop = start + layout.chunk_tokens if stop_index is None else stop_index
            low, high = np.searchsorted(chunk.times.indices, [first_index, stop])
            self.stats += chunk.stats
            if high > low:
                part = slice(int(low), int(high))
                self._parts.append((number, part))
                times.append(chunk.times[part])
                digest.update(f"{part.start} {part.stop} {chunk.sha256}\n".encode())
        self._times = TokenTimes.concatenate(times)
        self.sha256 = digest.hexdigest()
        self._num_features = layout.num_features

    def __repr__(self) -> str:
        return f"StoredFeatures(({len(self._times)}, {self._num_features}), {self._times!r})"

    @property
    def times(self) -> TokenTimes:
        return self._times

    @property
    def num_features(self) -> int:
        return self._num_features

    def blocks(self, size: int) -> Iterator[FloatArray]:
        """Yield blocks of exactly (size, D); the last one may be shorter."""
        block = np.empty((size, self._num_features), np.float32)
        filled = 0
        for number, part in self._parts:
            values = self._store.read_chunk(number).values[part]
            while len(values):
                take = min(size - filled, len(values))
                block[filled : filled + take] = values[:take]
                filled, values = filled + take, values[take:]
                if filled == size:
                    yield block
                    block, filled = np.empty_like(block), 0
        if filled:
            yield block[:filled]


def chunk_name(number: int) -> str:
    """Return the file name of a chunk."""
    return f"{number:08d}.safetensors"


def _read(path: Path) -> bytes:
    """Read a regular file. Reading a fifo in its place would block."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    return path.read_bytes()


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a small JSON file with a checksum; None if it is missing or damaged."""
    try:
        outer = json.loads(_read(path))
        if outer["sha256"] != _digest(json.dumps(outer["data"], sort_keys=True)):
            return None
        data: dict[str, Any] = outer["data"]
        return data
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def write_json(path: Path, data: dict[str, Any], *, durable: bool = True) -> None:
    """Write ``data`` with a checksum, for :func:`read_json`."""
    text = json.dumps(data, sort_keys=True)
    sealed = f'{{"data": {text}, "sha256": "{_digest(text)}"}}'
    publish(path, sealed.encode(), durable=durable)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def publish(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` to ``path`` atomically, and synced to the disk if ``durable``.

    Raises:
        StoreError: no space, no permission or an I/O error; no partial file is left.
    """
    try:
        with whole_file(path, durable=durable) as file:
            file.write(data)
    except OSError as error:
        raise _cannot_store(path, error) from error


def _cannot_store(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: features cannot be stored ({error.strerror or error}): "
        "free space there or choose another directory with --cache-dir"
    )
