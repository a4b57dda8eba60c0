"""The feature buffer on disk: one directory a video and setting, immutable chunk files in it.

    store.json       the key, chunk size, batch size and D: written once, at the first chunk
    identity.json    full hash of the video, and where it has been seen
    00000000.safetensors ...   chunks, cut on the sampling grid
    end.json         written when the end of the video was reached
    frames.json      numbers of the frames, once they were counted

Chunks are published atomically and never change; a chunk whose checksum is wrong counts as
missing. An interrupted run therefore resumes at the first missing chunk.
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

from vtnstream.atomic import whole_file
from vtnstream.errors import StoreError
from vtnstream.features.chunk import StoredChunk
from vtnstream.features.key import FeatureKey
from vtnstream.features.lock import StoreLock
from vtnstream.types import DecodeStats, FloatArray, FrameIndex, FrameRun, TokenTimes

TARGET_BYTES = 2**20
TARGET_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class StoreLayout:
    """How a store is cut; recorded at the first write and reused ever after.

    Attributes:
        num_features: D.
        batch_size: grid positions a backbone batch: the same batches again give the same bits.
        chunk_tokens: grid positions a chunk file, whole batches.
    """

    num_features: int
    batch_size: int
    chunk_tokens: int

    @classmethod
    def plan(
        cls, num_features: int, batch_size: int, tokens_per_second: float | None
    ) -> StoreLayout:
        """Whole batches of about 1 MB or 60 s, whichever is less."""
        tokens = TARGET_BYTES / (4 * num_features)
        if tokens_per_second:
            tokens = min(tokens, TARGET_SECONDS * tokens_per_second)
        batches = max(1, round(tokens / batch_size))
        return cls(num_features, batch_size, batches * batch_size)


@dataclass(frozen=True, slots=True)
class EndRecord:
    """What is known once the end of the video was reached."""

    stop_index: int
    """One past the last token's grid index."""
    end_seconds: float
    stats: DecodeStats
    """Errors over the whole video, those after the last token included."""
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkFacts:
    """What is kept in memory of a chunk: its times and the errors met, not its features.
    A chunk without tokens may stand for a whole gap: ``stop_index`` says how far."""

    stop_index: int
    times: TokenTimes
    stats: DecodeStats

    @classmethod
    def of(cls, chunk: StoredChunk) -> ChunkFacts:
        return cls(chunk.stop_index, chunk.times, chunk.stats)


class FeatureStore:
    """Features of one video under one :class:`FeatureKey`.

    Opened by :class:`vtnstream.features.cache.FeatureCache`, which holds the lock.
    """

    def __init__(self, directory: Path, key: FeatureKey, lock: StoreLock) -> None:
        self.directory = directory
        self.key = key
        self.lock = lock
        self.layout = self._read_layout()
        self._index: dict[int, ChunkFacts] | None = None

    # ------------------------------------------------------------------ what is there

    def _read_layout(self) -> StoreLayout | None:
        data = read_json(self.directory / "store.json")
        if data is None:
            return None
        try:
            return StoreLayout(**data["layout"])
        except (KeyError, TypeError):
            return None

    def require_layout(self) -> StoreLayout:
        if self.layout is None:
            raise StoreError(f"{self.directory}: an empty feature store was asked for features")
        return self.layout

    def chunk_path(self, number: int) -> Path:
        return self.directory / chunk_name(number)

    def chunk_numbers(self) -> list[int]:
        """Chunks that have a file, whole or not."""
        return sorted(int(p.stem) for p in self.directory.glob("[0-9]*.safetensors"))

    def read_chunk(self, number: int) -> StoredChunk:
        """Raises:
        StoreError: the chunk is absent or damaged.
        """
        path = self.chunk_path(number)
        try:
            data = _read(path)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}") from error
        chunk = StoredChunk.from_bytes(data, str(path))
        if chunk.first_index != number * self.require_layout().chunk_tokens:
            raise StoreError(f"{path}: chunk of another place")
        return chunk

    def index(self) -> Mapping[int, ChunkFacts]:
        """Facts of every good chunk by number. The first call reads and checks each file and
        removes damaged ones, so that they count as missing."""
        if self._index is None:
            self._index = {}
            for number in self.chunk_numbers() if self.layout else ():
                try:
                    self._index[number] = ChunkFacts.of(self.read_chunk(number))
                except StoreError:
                    _discard(self.chunk_path(number))
        return self._index

    def end(self) -> EndRecord | None:
        """None until the end of the video was reached."""
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
        """Numbers of the video's frames; None where they were not counted yet."""
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
        """Record the layout at the first write; later calls return what was recorded."""
        if self.layout is None:
            # Where the record was lost, nobody knows how the chunks that lie here were cut.
            for path in (*map(self.chunk_path, self.chunk_numbers()), self.directory / "end.json"):
                path.unlink(missing_ok=True)
            self._index = None
            write_json(
                self.directory / "store.json",
                {"key": self.key.as_dict(), "layout": asdict(layout)},
            )
            self.layout = layout
        return self.layout

    def append(self, chunk: StoredChunk) -> None:
        """Publish one chunk.

        Raises:
            StoreError: it cannot be written.
        """
        layout = self.require_layout()
        if chunk.first_index % layout.chunk_tokens or chunk.values.shape[1] != layout.num_features:
            raise StoreError(f"{self.directory}: chunk does not fit the store's layout")
        number = chunk.first_index // layout.chunk_tokens
        publish(self.chunk_path(number), chunk.to_bytes())
        if self._index is not None:
            self._index[number] = ChunkFacts.of(chunk)

    def finish(self, end: EndRecord) -> None:
        """Record that the video ends here."""
        write_json(self.directory / "end.json", asdict(end))

    def number_frames(self, frames: FrameIndex) -> None:
        """Record the numbers of the video's frames."""
        runs = [[run.first, run.count, run.first_tick, run.last_tick] for run in frames.runs]
        write_json(self.directory / "frames.json", {"runs": runs, "until": frames.until})

    # ------------------------------------------------------------------------ reading

    def sequence(self, first_index: int, stop_index: int | None) -> StoredFeatures:
        """The tokens with ``first_index <= index < stop_index`` as a feature sequence.

        Raises:
            StoreError: a chunk of that range is absent or damaged.
        """
        return StoredFeatures(self, first_index, stop_index)


class StoredFeatures:
    """A :class:`vtnstream.types.FeatureSequence` on disk. Times are in memory (32 bytes a
    token), features are read chunk by chunk and checked each time."""

    def __init__(self, store: FeatureStore, first_index: int, stop_index: int | None) -> None:
        layout = store.require_layout()
        self._store = store
        self._parts: list[tuple[int, slice]] = []
        times: list[TokenTimes] = []
        self.stats = DecodeStats()
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
        self._times = TokenTimes.concatenate(times)
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
        """Blocks of exactly (size, D), the last one shorter."""
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
    """What the file of a chunk is called."""
    return f"{number:08d}.safetensors"


def _read(path: Path) -> bytes:
    """The bytes of a regular file; a fifo in its place would be waited for."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    return path.read_bytes()


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """A small JSON file with its own checksum; None where it is absent or damaged."""
    try:
        outer = json.loads(_read(path))
        if outer["sha256"] != _json_digest(outer["data"]):
            return None
        data: dict[str, Any] = outer["data"]
        return data
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Publish ``data`` so that :func:`read_json` can tell damage."""
    text = json.dumps({"data": data, "sha256": _json_digest(data)}, sort_keys=True, indent=1)
    publish(path, text.encode())


def _json_digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def publish(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically and durably.

    Raises:
        StoreError: no space, no permission or an I/O error; nothing is left half-written.
    """
    try:
        with whole_file(path) as file:
            file.write(data)
    except OSError as error:
        raise StoreError(
            f"{path}: features cannot be stored ({error.strerror or error}): "
            "free space there or choose another place with --cache-dir"
        ) from error
