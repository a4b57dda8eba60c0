"""What stored features belong to: which video, sampled and prepared how, through which weights.

Everything that can change a stored number is in the key, so features of one setting are
never met by another. The batch size is not: it is recorded at the first write and reused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vtnstream.errors import VideoOpenError
from vtnstream.transport.address import is_address, unsigned
from vtnstream.transport.media import open_media

SCHEMA = 1
"""Raised whenever stored bytes change their meaning."""

NUM_BLOCKS = 16
BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class VideoIdentity:
    """A file's content by its size and a hash of 16 blocks spread over it: read in
    milliseconds however long the film, blind to edits between the blocks. The full hash
    closes that hole (see :meth:`FeatureCache.open`). A remote file is known by what its
    server calls its version, and by its first and last block."""

    size_bytes: int
    blocks_sha256: str


@dataclass(frozen=True, slots=True)
class FileState:
    """Where a file was and when it last changed. The time of change of the inode, which no
    program can set back, tells an edit whose time of writing was. ``version`` is what the server
    of a remote file calls this state of it."""

    path: str
    mtime_ns: int
    ctime_ns: int
    size_bytes: int
    version: str = ""

    @classmethod
    def of(cls, path: str | Path) -> FileState:
        """Raises:
        VideoOpenError: the file cannot be examined.
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
        """Whether its content may have changed; a new name or other rights are no matter."""
        mine, its = ((s.mtime_ns, s.size_bytes, s.version) for s in (self, before))
        return mine != its


@dataclass(frozen=True, slots=True)
class FeatureKey:
    """All that decides the features of one video."""

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
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def digest(self) -> str:
        """Hex name of the key: equal keys, equal names."""
        text = json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def video_identity(path: str | Path) -> VideoIdentity:
    """Size and block hash of a file.

    Raises:
        VideoOpenError: the file cannot be read.
    """
    remote = is_address(path)
    opened = open_media(path) if remote else None
    try:
        with opened.file if opened else open(path, "rb") as file:
            size = opened.size if opened else os.fstat(file.fileno()).st_size
            digest = hashlib.sha256(opened.version.encode() if opened else b"")
            last = max(0, size - BLOCK_BYTES)
            count = 2 if remote else NUM_BLOCKS
            for offset in sorted({last * i // (count - 1) for i in range(count)}):
                file.seek(offset)
                digest.update(_read(file, BLOCK_BYTES))
    except OSError as error:
        raise VideoOpenError(f"{path}: {error.strerror or error}") from error
    return VideoIdentity(size, digest.hexdigest())


def _read(file: Any, size: int) -> bytes:
    """``size`` bytes, fewer at the end only: remote files give what is at hand."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def full_sha256(path: str | Path) -> str:
    """SHA-256 of the whole file.

    Raises:
        VideoOpenError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise VideoOpenError(f"{path}: {error.strerror}") from error
