"""Keep compiled engines on disk, under a hash of everything they depend on.

An engine is loaded only from a folder that no other user can write to.

    engines/<digest>/engine.json   the key, a hash of each file, and measured figures
    engines/<digest>/engine/       files of the backend
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from vtnstream.errors import StoreError
from vtnstream.features.lock import StoreLock
from vtnstream.features.store import read_json, write_json
from vtnstream.models.compile.backend import EngineError

SCHEMA = 1
"""Increased when the way engines are built changes."""

_LIMIT_BYTES = 8 * 2**30
"""Beyond this size the least recently used engines are removed."""

_OTHERS_MAY_WRITE = 0o022
_UNFINISHED = ".new-"
_DAY = 86400.0


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that decides an engine.

    Attributes:
        backend: name of the backend.
        versions: versions of torch and of the backend's libraries.
        hardware: result of :func:`hardware`.
        weights_sha256, backbone, arguments, preprocess: the network.
        dtype: precision of the network.
        batch_size: frames per call.
        threads: torch threads per call.
    """

    backend: str
    versions: Mapping[str, str]
    hardware: Mapping[str, Any]
    weights_sha256: str
    backbone: str
    arguments: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    dtype: str
    batch_size: int
    threads: int
    schema: int = SCHEMA

    @property
    def digest(self) -> str:
        """Hex digest of the key: equal keys have equal digests."""
        text = json.dumps(asdict(self), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def hardware(device: torch.device) -> dict[str, Any]:
    """Return the properties of a device that compiled code depends on, so that an engine of
    another processor or GPU (on a shared home directory, say) is never loaded."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {
            "name": properties.name,
            "capability": [properties.major, properties.minor],
            "cuda": torch.version.cuda,
        }
    # Releases of torch without this function report only the instructions they chose.
    ask = getattr(torch.cpu, "get_capabilities", dict)
    able = sorted(name for name, there in ask().items() if there is True)
    return {
        "name": platform.machine(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "instructions": able,
    }


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """One engine on disk, after its files were checked.

    Attributes:
        folder: folder of the backend's files.
        facts: recorded figures: ``compile_seconds``, ``frames_per_second`` ...
    """

    folder: Path
    facts: dict[str, float]


class EngineCache:
    """Engines below one directory.

    Args:
        root: the user's cache directory.
        keep: False loads existing engines and keeps no new one (``--no-cache``).
    """

    def __init__(self, root: Path, *, keep: bool = True) -> None:
        self.root = root / "engines"
        self.keep = keep

    def find(self, key: EngineKey) -> EngineRecord | None:
        """Return the engine of ``key``; None if there is none, or its files are damaged.

        Raises:
            EngineError: another user could have written it.
        """
        place = self.root / key.digest
        record = read_json(place / "engine.json")
        if record is None:
            return None
        for path in (self.root, place, place / "engine"):
            _check_ours(path)
        if record["files"] != _hashes(place / "engine"):
            return None
        os.utime(place)
        return EngineRecord(place / "engine", record["facts"])

    def note(self, key: EngineKey, facts: Mapping[str, float]) -> None:
        """Add ``facts`` to the record of a stored engine."""
        path = self.root / key.digest / "engine.json"
        record = read_json(path)
        if record is not None and self.keep:
            write_json(path, {**record, "facts": {**record["facts"], **facts}})

    @contextmanager
    def obtain(
        self,
        key: EngineKey,
        make: Callable[[Path], Mapping[str, float]],
        *,
        on_wait: Callable[[], None] | None = None,
    ) -> Iterator[EngineRecord]:
        """Load the engine of ``key``, and build it first if there is none. Two processes never
        build the same engine at once.

        Args:
            key: which engine.
            make: fills an empty folder and returns facts to record.
            on_wait: called once if another process is building it.

        Raises:
            EngineError: the engine cannot be built, kept or trusted.
        """
        if not self.keep:
            found = self.find(key)
            with tempfile.TemporaryDirectory(prefix="vtnstream-") as made:
                yield found or EngineRecord(*_made(make, Path(made)))
            return
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_ours(self.root)
            lock = StoreLock(self.root / f"{key.digest}.lock")
            lock.acquire(exclusive=True, on_wait=on_wait)
            try:
                yield self.find(key) or self._make(key, make)
            finally:
                lock.release()
        except (OSError, StoreError) as error:
            raise EngineError(f"{self.root}: engines cannot be kept there ({error})") from error

    def _make(self, key: EngineKey, make: Callable[[Path], Mapping[str, float]]) -> EngineRecord:
        place = self.root / key.digest
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=self.root) as made:
            folder, facts = _made(make, Path(made))
            write_json(
                Path(made) / "engine.json",
                {"key": asdict(key), "files": _hashes(folder), "facts": facts},
            )
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(mode=0o700)
            for part in (
                "engine",
                "engine.json",
            ):  # an engine without its record does not count as stored
                os.rename(Path(made) / part, place / part)
        self.prune(_LIMIT_BYTES, spare=place)
        return EngineRecord(place / "engine", facts)

    def entries(self) -> list[tuple[Path, int, dict[str, Any]]]:
        """Return (directory, bytes, record) of each engine, least recently used first."""
        found = []
        for path in self.root.glob("*/engine.json"):
            size = sum(part.stat().st_size for part in path.parent.rglob("*") if part.is_file())
            found.append((path.parent.stat().st_mtime, path.parent, size, read_json(path) or {}))
        return [(place, size, record) for _, place, size, record in sorted(found, key=_first)]

    def prune(self, limit_bytes: int, *, spare: Path | None = None) -> int:
        """Remove least recently used engines until all together take at most ``limit_bytes``.

        Returns:
            Bytes freed.
        """
        entries = self.entries()
        total, freed = sum(size for _, size, _ in entries), 0
        for place in self.root.glob(f"{_UNFINISHED}*"):
            if time.time() - place.stat().st_mtime > _DAY:  # of a process that was killed
                shutil.rmtree(place, ignore_errors=True)
        for place, size, _ in entries:
            if total - freed <= limit_bytes:
                break
            if place != spare:
                shutil.rmtree(place, ignore_errors=True)
                freed += size
        return freed

    def mean_fact(self, name: str, backend: str) -> float | None:
        """Return the mean of a recorded figure over the engines of a backend; None without
        records."""
        records = [record for _, _, record in self.entries()]
        known = [
            float(record["facts"][name])
            for record in records
            if record.get("key", {}).get("backend") == backend and name in record["facts"]
        ]
        return sum(known) / len(known) if known else None


def _made(
    make: Callable[[Path], Mapping[str, float]], place: Path
) -> tuple[Path, dict[str, float]]:
    folder = place / "engine"
    folder.mkdir(mode=0o700)
    return folder, dict(make(folder))


def _first(entry: tuple[Any, ...]) -> Any:
    return entry[0]


def _hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in ``folder`` by its name."""
    hashes = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            hashes[path.relative_to(folder).as_posix()] = digest
    return hashes


def _check_ours(path: Path) -> None:
    """Check that no other user owns ``path`` or may write to it. Systems without file owners are
    not checked.

    Raises:
        EngineError: another user owns it or may write to it, so that it must not be executed.
    """
    if os.name != "posix":
        return
    status = os.lstat(path)
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
        raise EngineError(
            f"{path}: others may write there, so no compiled code is loaded from it "
            "(chmod go-w, or another --cache-dir)"
        )
