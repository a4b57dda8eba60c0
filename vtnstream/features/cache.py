"""Open, list and prune the feature stores of a cache."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from vtnstream.atomic import remove_unfinished
from vtnstream.errors import StoreError
from vtnstream.features.key import FeatureKey, FileState, full_sha256
from vtnstream.features.lock import StoreLock
from vtnstream.features.store import FeatureStore, read_json, write_json
from vtnstream.transport.address import is_address

_MAX_TWINS = 64
_SMALL_BYTES = 2**20
"""Size of a file that is hashed in a millisecond."""


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One feature store as ``vtnstream cache list`` shows it."""

    directory: Path
    size_bytes: int
    last_used: float
    """Seconds since the epoch."""
    num_chunks: int
    complete: bool
    video_path: str | None
    backbone: str
    sampling: dict[str, object]


_GROWTH_BYTES = 2**20
_GROWTH_SHARE = 20


class FeatureCache:
    """Feature stores below one directory; the least recently used are pruned first."""

    def __init__(self, root: Path) -> None:
        self.root = root / "features"

    @contextmanager
    def open(
        self,
        key: FeatureKey,
        state: FileState,
        *,
        on_wait: Callable[[], None] | None = None,
    ) -> Iterator[FeatureStore]:
        """Open the store of ``key``; it is locked for writing while the context lasts.

        Two videos may have the same size and sampled blocks. If the path or modification time of
        the file is new to the store, the full hash of the file must equal the recorded one;
        otherwise the next directory for the same key is tried.

        Raises:
            StoreError: the directory cannot be created, read or locked.
        """
        with self._locked_directory(key, state, on_wait) as (directory, lock, identity):
            os.utime(directory / "lock")
            store = FeatureStore(directory, key, lock, identity.full_sha256)
            try:
                yield store
            finally:
                if store.directory.exists() and not store.chunk_numbers():
                    _empty(directory)  # no features were stored: remove the directory
                    shutil.rmtree(directory)

    def _directory(self, key: FeatureKey) -> Path:
        digest = key.digest
        return self.root / digest[:2] / digest

    @contextmanager
    def _locked_directory(
        self, key: FeatureKey, state: FileState, on_wait: Callable[[], None] | None
    ) -> Iterator[tuple[Path, StoreLock, _Identity]]:
        base = self._directory(key)
        checked: str | None = None
        for twin in range(_MAX_TWINS):
            directory = base if twin == 0 else base.with_name(f"{base.name}-{twin}")
            lock = StoreLock(directory / "lock")
            try:
                lock.acquire(exclusive=True, on_wait=on_wait)
                while not lock.still_exists():
                    lock.release()
                    lock.acquire(exclusive=True, on_wait=on_wait)
                remove_unfinished(directory)
                known = _Identity.read(directory)
                if known is not None and not known.has_seen(state):
                    if known.full_sha256 is None:
                        known = None  # the run was interrupted before it recorded the hash
                    elif known.full_sha256 != (checked := checked or full_sha256(state.path)):
                        continue
                    else:
                        known.with_state(state).write(directory)
                if known is None:
                    _empty(directory)  # these features may belong to another video
                    known = _Identity(checked or _hash_of_small(state), (state,))
                    known.write(directory, durable=False)
                yield directory, lock, known
                return
            finally:
                lock.release()
        raise StoreError(f"{base}: too many videos share this key; run vtnstream cache prune --all")

    def num_chunks(self, key: FeatureKey) -> int:
        """Return the number of chunk files stored under ``key``, damaged ones included; create
        nothing."""
        return len(list(self._directory(key).glob("[0-9]*.safetensors")))

    def entries(self) -> list[CacheEntry]:
        """Return all stores, least recently used first."""
        found = [_entry(path.parent) for path in self.root.glob("*/*/lock")]
        return sorted((e for e in found if e is not None), key=lambda e: e.last_used)

    def prune(self, limit_bytes: int) -> list[CacheEntry]:
        """Remove the least recently used stores until the rest hold at most ``limit_bytes``.

        Stores in use are kept.

        Returns:
            The removed stores.

        Raises:
            StoreError: a store cannot be removed.
        """
        entries = self.entries()
        total = sum(entry.size_bytes for entry in entries)
        removed = []
        for entry in entries:
            if total <= limit_bytes:
                break
            if self._remove(entry.directory):
                total -= entry.size_bytes
                removed.append(entry)
        return removed

    def make_room(self, limit_bytes: int, grown_bytes: int) -> None:
        """Prune the cache after a store has grown by ``grown_bytes``, if needed.

        Listing all stores for every video would take quadratic time for thousands of videos.
        Stores are therefore listed only after they have grown by a twentieth of the limit. The
        growth is counted in a file, one byte per megabyte, which all processes share.

        Raises:
            StoreError: that file cannot be written, or a store cannot be removed.
        """
        tally = self.root / "grown"
        try:
            first = not tally.exists()
            with open(tally, "ab") as file:
                file.write(b"." * -(-grown_bytes // _GROWTH_BYTES))
                grown = file.tell() * _GROWTH_BYTES
            if first or grown * _GROWTH_SHARE > limit_bytes:
                os.truncate(tally, 0)
                self.prune(limit_bytes)
        except OSError as error:
            raise StoreError(f"{tally}: cannot be written ({error.strerror or error})") from error

    def _remove(self, directory: Path) -> bool:
        lock = StoreLock(directory / "lock")
        try:
            if not lock.try_acquire(exclusive=True):
                return False
            # The lock file is removed last, so that no process opens a half-removed store.
            _empty(directory)
            shutil.rmtree(directory)
        except OSError as error:
            raise StoreError(f"{directory}: cannot be removed ({error})") from error
        finally:
            lock.release()
        return True


@contextmanager
def temporary_cache() -> Iterator[FeatureCache]:
    """Yield a cache that is removed when the context ends (``--no-cache``)."""
    with tempfile.TemporaryDirectory(prefix="vtnstream-") as directory:
        yield FeatureCache(Path(directory))


def record_full_hash(store: FeatureStore, state: FileState, sha256: str) -> bool:
    """Record the full hash of the video of a store.

    Returns:
        False if another hash is recorded already: the file changed while it was read.
    """
    known = _Identity.read(store.directory) or _Identity(None, (state,))
    if known.full_sha256 not in (None, sha256):
        return False
    known = _Identity(sha256, known.states).with_state(state)
    known.write(store.directory, durable=store.is_durable)
    store.video_sha256 = sha256
    return True


def _hash_of_small(state: FileState) -> str | None:
    """Return the full hash of a small file; a larger one is hashed while it is decoded."""
    if is_address(state.path) or state.size_bytes > _SMALL_BYTES:
        return None
    return full_sha256(state.path)


@dataclass(frozen=True, slots=True)
class _Identity:
    """Content of ``identity.json``: the video's full hash, and the files that had this hash."""

    full_sha256: str | None
    states: tuple[FileState, ...]

    @classmethod
    def read(cls, directory: Path) -> _Identity | None:
        data = read_json(directory / "identity.json")
        if data is None:
            return None
        try:
            return cls(data["full_sha256"], tuple(FileState(**state) for state in data["states"]))
        except (KeyError, TypeError):  # written by another version
            return None

    def write(self, directory: Path, *, durable: bool = True) -> None:
        states = [asdict(state) for state in self.states]
        data = {"full_sha256": self.full_sha256, "states": states}
        write_json(directory / "identity.json", data, durable=durable)

    def has_seen(self, state: FileState) -> bool:
        return state in self.states

    def with_state(self, state: FileState) -> _Identity:
        others = tuple(s for s in self.states if s.path != state.path)
        return _Identity(self.full_sha256, (*others[-7:], state))


def _empty(directory: Path) -> None:
    for path in directory.iterdir():
        if path.name != "lock":
            path.unlink(missing_ok=True)


def _entry(directory: Path) -> CacheEntry | None:
    try:
        files = [path for path in directory.iterdir() if path.is_file()]
        used = (directory / "lock").stat().st_mtime
        size = sum(path.stat().st_size for path in files)
    except FileNotFoundError:  # pruned by another process meanwhile
        return None
    store = read_json(directory / "store.json") or {}
    known = _Identity.read(directory)
    key = store.get("key", {})
    return CacheEntry(
        directory=directory,
        size_bytes=size,
        last_used=used,
        num_chunks=sum(path.match("[0-9]*.safetensors") for path in files),
        complete=(directory / "end.json").exists(),
        video_path=known.states[-1].path if known and known.states else None,
        backbone=key.get("backbone", "?"),
        sampling=key.get("sampling", {}),
    )
