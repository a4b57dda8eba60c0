"""Open the bytes of a video: a regular file, a remote file with range requests, or a stream."""

from __future__ import annotations

import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtnstream.errors import VideoOpenError
from vtnstream.transport.address import STORES, check_address, is_address, scheme_of
from vtnstream.transport.feed import Feed
from vtnstream.transport.http import request
from vtnstream.transport.objects import open_object
from vtnstream.transport.range_file import RangeFile

Medium = str | Path | Feed
"""What can be opened: a file name, an address, or a stream."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open file object.

    Attributes:
        file: binary file object.
        size: size in bytes; 0 if unknown.
        version: identifies the version of a remote file; may be empty.
    """

    file: Any
    size: int
    version: str = ""


def open_media(medium: Medium) -> Opened:
    """Open the bytes of a video.

    Raises:
        VideoOpenError: the medium cannot be opened.
        UsageError: the address may not be read (:func:`check_address`).
        MissingExtraError: an object store needs a library that is not installed.
    """
    if isinstance(medium, Feed):
        return Opened(medium.reader(), 0)
    if not is_address(medium):
        file = open_file(medium)
        return Opened(file, os.fstat(file.fileno()).st_size)
    address = str(medium)
    check_address(address)
    if scheme_of(address) in STORES:
        return Opened(*open_object(address))
    response = request(address)
    if not (response.ranges and response.size and response.version):
        response.body.close()
        raise VideoOpenError(f"{address}: cannot be read in parts; download it first")
    remote = RangeFile(address, response)
    return Opened(remote, remote.size, remote.version)


def open_file(path: str | Path) -> io.FileIO:
    """Open a regular, non-empty file without ever blocking.

    Raises:
        VideoOpenError: the file is absent, a directory, a pipe or device, empty, or not permitted.
    """
    # Without O_NONBLOCK, opening a FIFO without a writer would block.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except FileNotFoundError:
        raise VideoOpenError(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise VideoOpenError(f"{path}: no permission to read it; check its rights") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoOpenError(f"{path}: cannot be opened ({reason}); check the path") from None
    try:
        state = os.fstat(handle)
        if stat.S_ISDIR(state.st_mode):
            raise VideoOpenError(f"{path}: is a directory; name a video file in it")
        if not stat.S_ISREG(state.st_mode):
            raise VideoOpenError(
                f"{path}: is not a regular file (pipe or device); pipe it in (vtnstream ... - < "
                "PIPE) or save the stream to a file first"
            )
        if state.st_size == 0:
            raise VideoOpenError(f"{path}: is empty (0 bytes); copy or record it again")
        # FileIO is written in C, so that no Python code runs inside libav's callbacks, where a
        # KeyboardInterrupt would be lost. It needs no buffer, because libav has its own.
        return io.FileIO(handle, "rb")
    except BaseException:
        os.close(handle)
        raise
