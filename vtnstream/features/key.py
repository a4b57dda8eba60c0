"""The key of stored features: the video, its sampling and preprocessing, and the backbone weights.

The key contains everything that can change a stored number, so that features are never used with
other settings. It does not contain the batch size, which the store records and reuses.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from vtnstream.errors import VideoOpenError
from vtnstream.transport.address import is_address, unsigned
from vtnstream.transport.media import open_media

_SCHEMA = 1
"""Version of the store; increased when the meaning of stored bytes changes."""

_NUM_BLOCKS = 16
_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class VideoIdentity:
    """Identifies the content of a file by its size and a hash of 16 blocks spread over it.

    Reading the blocks takes milliseconds for any length, but misses changes between them; the full
    hash detects those (see :meth:`vtnstream.features.cache.FeatureCache.open`). A remote file is
    identified by the version that its server states, and by its first and last block.
    """

    size_bytes: int
    blocks_sha256: str


@dataclass(frozen=True, slots=True)
class FileState:
    """Path, size and modification times of a file.

    Programs can reset the modification time but not the change time of the inode, which therefore
    reveals edits. ``version`` is the version of a remote file that its server states.
    """

    path: str
    mtime_ns: int
    ctime_ns: int
    size_bytes: int
    version: str = ""

    @classmethod
    def of(cls, path: str | Path) -> FileState:
        """Return the state of a file or remote file.

        Raises:
            VideoOpenError: the file cannot be opened.
        """
        if is_address(path):
            opened = open_media(path)
            opened.file.close()
            return cls(unsigned(str(path)), 0, 0, opened.size, opened.version)
        try:
            status = os.stat(path)
        except OSError as error:
            raise VideoOpenError(f"{path}: {error.strerror}") from error
        return cls(os.path.abspath(path), status.st_mtime_ns, status.st_ctime_ns, status.st_size)

    def was_written_since(self, before: FileState) -> bool:
        """Return whether the content may have changed; a new name or other permissions do not
        count."""
        mine, its = ((s.mtime_ns, s.size_bytes, s.version) for s in (self, before))
        return mine != its


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """Everything that determines the features of one video."""

    video: VideoIdentity
    stream_index: int
    sampling: Mapping[str, Any]
    preprocess: Mapping[str, Any]
    resizer: str
    decoder: str
    backbone: str
    backbone_arguments: Mapping[str, Any]
    weights_sha256: str
    dtype: str
    backend: str
    schema: int = _SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """Return the key as JSON data, which shares its mappings with the key."""
        data = {item.name: getattr(self, item.name) for item in fields(self)}
        return data | {"video": asdict(self.video)}

    @property
    def digest(self) -> str:
        """Hex digest of the key, used as a directory name."""
        text = json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def video_identity(path: str | Path) -> VideoIdentity:
    """Return the size and block hash of a file.

    Raises:
        VideoOpenError: the file cannot be read.
    """
    remote = is_address(path)
    opened = open_media(path) if remote else None
    try:
        with opened.file if opened else open(path, "rb") as file:
            size = opened.size if opened else os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(opened.version.encode() if opened else b"")
            last = max(0, size - _BLOCK_BYTES)
            count = 2 if remote else _NUM_BLOCKS
            for offset in sorted({last * i // (count - 1) for i in range(count)}):
                file.seek(offset)
                digest.update(_read(file, _BLOCK_BYTES))
    except OSError as error:
        raise VideoOpenError(f"{path}: {error.strerror or error}") from error
    return VideoIdentity(size, digest.hexdigest())


def _read(file: Any, size: int) -> bytes:
    """Read ``size`` bytes, or fewer at the end; one read of a remote file may return less."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def full_sha256(path: str | Path) -> str:
    """Return the SHA-256 of the whole file.

    Raises:
        VideoOpenError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VideoOpenError(f"{path}: {error.strerror}") from error
