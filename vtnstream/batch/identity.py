"""Detect whether a file has changed since an earlier run."""

from __future__ import annotations

import os
import stat
from typing import Any

from vtnstream.errors import VideoOpenError
from vtnstream.features.key import video_identity

_SMALL_BYTES = 16 * 2**20


def is_small(path: str) -> bool:
    """Return whether a file is so small that it is processed beside others. A larger video uses
    all threads by itself, and so do addresses, streams and names without a file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size <= _SMALL_BYTES


def file_identity(path: str) -> dict[str, Any]:
    """Return the size, modification times and sampled content of a file, to detect changes.

    Raises:
        VideoOpenError: the file cannot be read.
    """
    return identity_of(path, file_stamps(path))


def identity_of(
    path: str, stamps: dict[str, Any], blocks_sha256: str | None = None
) -> dict[str, Any]:
    """Return the identity of a file that had these stamps.

    Args:
        path: the file.
        stamps: of :func:`file_stamps`.
        blocks_sha256: hash of its sampled content, if it was read already.

    Raises:
        VideoOpenError: the file cannot be read.
    """
    return {**stamps, "blocks_sha256": blocks_sha256 or video_identity(path).blocks_sha256}


def unchanged(path: str, known: dict[str, Any] | None) -> bool:
    """Return whether the file at ``path`` still has the identity ``known``.

    Size and modification time are compared. If only the inode changed (renamed, other
    permissions, restored from a backup), the sampled content is compared.
    """
    if known is None:
        return False
    try:
        stamps = file_stamps(path)
        if any(stamps[name] != known.get(name) for name in ("size_bytes", "mtime_ns")):
            return False
        if stamps["ctime_ns"] == known.get("ctime_ns"):
            return True
        same: bool = video_identity(path).blocks_sha256 == known.get("blocks_sha256")
        return same
    except VideoOpenError:
        return False


def file_stamps(path: str) -> dict[str, Any]:
    """Return the size and modification times of a file, without reading it.

    Raises:
        VideoOpenError: there is no regular file of this name.
    """
    try:
        status = os.stat(path)
    except OSError as error:
        raise VideoOpenError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):  # opening a fifo would block
        raise VideoOpenError(f"{path}: not a regular file")
    return {
        "size_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }
