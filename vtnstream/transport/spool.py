"""Copy videos that cannot be read in place to a temporary file.

These come through a pipe, from a server without range requests, or as a playlist.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vtnstream.errors import OutputError, UsageError, VideoOpenError, VtnstreamError
from vtnstream.progress import Progress
from vtnstream.transport.address import (
    STANDARD_INPUT,
    STORES,
    STREAMS,
    check_address,
    is_file_name,
    scheme_of,
    shown_name,
)
from vtnstream.transport.hls import SIGNATURE, playlist_runs
from vtnstream.transport.http import CUT, request

_BLOCK = 1 << 20
_MAX_NAME_LENGTH = 80


Join = Callable[[Sequence[Path], Path], None]
"""Function that joins files that follow each other in time; it raises VideoOpenError."""

_Runs = Iterator[tuple[int, bytes]]
"""Pairs of the number of the file to which bytes belong, and the bytes."""


@contextmanager
def local_copy(
    path: str | Path, progress: Progress, limit_bytes: int, *, join: Join
) -> Iterator[str | Path]:
    """Yield a name under which the video can be opened repeatedly within the context.

    It is ``path`` itself, or that of a temporary copy; errors name ``path`` in both cases.

    Args:
        path: a file, an address, or ``-`` for standard input.
        progress: shows how much was received.
        limit_bytes: maximum size of the copy.
        join: joins the files of a playlist whose initialisation section changes.

    Raises:
        UsageError: the address may not be read, or is a stream without end.
        VideoOpenError: the video cannot be read, or is larger than the limit.
        OutputError: the copy cannot be written.
    """
    if is_file_name(path):
        yield path
        return
    name = str(path)
    if name == STANDARD_INPUT:
        incoming, total = _single(_piped()), None
    else:
        check_address(name)
        if scheme_of(name) in STORES:
            yield name
            return
        found = _from_web(name)
        if found is None:
            yield name
            return
        incoming, total = found
    with tempfile.TemporaryDirectory(prefix="vtnstream-") as folder:
        copy = Path(folder) / _copy_name(name)
        runs = _write(copy, name, incoming, total, limit_bytes, progress)
        try:
            if len(runs) > 1:
                copy = copy.with_name(f"joined {copy.name}")
                join(runs, copy)
            yield copy
        except VtnstreamError as error:
            if str(copy) not in str(error):
                raise
            raise type(error)(str(error).replace(str(copy), name)) from error


def _copy_name(name: str) -> str:
    """Return the file name of the copy, which progress displays."""
    if name == STANDARD_INPUT:
        return "standard input"
    return re.sub(r"[^\w.-]", "_", shown_name(name))[-_MAX_NAME_LENGTH:].lstrip(".") or "video"


def _from_web(url: str) -> tuple[_Runs, int | None] | None:
    """Return the bytes and their number, or None if the file can be read in place."""
    if scheme_of(url) in STREAMS:
        raise UsageError(f"{url}: is a live stream: read it with --follow")
    response = request(url)
    try:
        beginning = response.body.read(len(SIGNATURE))
    except CUT as error:
        response.body.close()
        raise VideoOpenError(f"{url}: the connection ended ({error}); try again") from error
    if beginning == SIGNATURE:
        response.body.close()
        return playlist_runs(url), None
    if response.ranges and response.size and response.version:
        response.body.close()
        return None
    return _single(_downloaded(url, beginning, response.body, response.size)), response.size


def _single(data: Iterator[bytes]) -> _Runs:
    return ((0, part) for part in data)


def _downloaded(url: str, beginning: bytes, body: Any, size: int | None) -> Iterator[bytes]:
    done = len(beginning)
    with body:
        yield beginning
        try:
            while data := body.read(_BLOCK):
                done += len(data)
                yield data
        except CUT as error:
            raise VideoOpenError(f"{url}: the connection ended ({error}); try again") from error
    if size is not None and done < size:
        raise VideoOpenError(f"{url}: the connection ended after {done} of {size} bytes; try again")


def _piped() -> Iterator[bytes]:
    incoming: Any = sys.stdin.buffer
    while data := incoming.read1(_BLOCK):
        yield data


def _write(
    copy: Path,
    name: str,
    incoming: _Runs,
    total: int | None,
    limit: int,
    progress: Progress,
) -> list[Path]:
    """Write the incoming bytes, one file per run, and return the files."""
    done, files = 0, [copy]
    progress.start(
        f"receiving {copy.name}", total=None if total is None else total / 1e6, unit="MB"
    )
    try:
        with ExitStack() as stack:
            file = stack.enter_context(open(copy, "wb"))
            for run, data in incoming:
                if run >= len(files):
                    files.append(copy.with_name(f"{run} {copy.name}"))
                    stack.close()
                    file = stack.enter_context(open(files[-1], "wb"))
                done += len(data)
                if done > limit:
                    raise VideoOpenError(
                        f"{name}: is longer than the {limit / 1e9:g} GB that a temporary copy may "
                        "have (--spool-limit)"
                    )
                file.write(data)
                progress.advance(done / 1e6)
    except OSError as error:
        if isinstance(error, VtnstreamError):
            raise
        raise OutputError(
            f"{name}: no temporary copy can be written ({error.strerror or error}); free space "
            "there, or name another folder in TMPDIR"
        ) from error
    finally:
        progress.finish()
    if not done:
        raise VideoOpenError(f"{name}: is empty (0 bytes)")
    return files
