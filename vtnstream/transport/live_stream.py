"""Read live streams: a growing file, a pipe, a connection, or a live playlist.

Each is an iterator of bytes that waits for data. It ends when it is stopped, and by itself after
some time without data.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from vtnstream.errors import UsageError, VideoDecodeError, VideoOpenError
from vtnstream.transport.address import (
    STANDARD_INPUT,
    WEB,
    check_address,
    is_file_name,
    scheme_of,
    shown,
)
from vtnstream.transport.feed import Feed
from vtnstream.transport.hls import SIGNATURE, Following, playlist_parts
from vtnstream.transport.http import CUT, request
from vtnstream.transport.media import open_file

_BLOCK = 1 << 18
_POLL_SECONDS = 0.1
_CONNECT_SECONDS = 10


def open_feed(path: str, *, idle_seconds: float, warn: Callable[[str], None]) -> Feed:
    """Open the live stream at ``path``.

    Args:
        path: a file that may still grow, ``-`` for standard input, a web address, or
            ``tcp://host:port``.
        idle_seconds: a stream without new data for this time has ended.
        warn: receives warnings about missing parts.

    Raises:
        UsageError: streams from this kind of address are not supported.
    """
    stop = Event()
    name = shown(path)
    cut: list[str] = []
    chunks: Iterator[bytes | None]
    if path == STANDARD_INPUT:
        chunks = _piped(stop, idle_seconds)
    elif is_file_name(path):
        chunks = _growing(path, stop, idle_seconds)
    else:
        check_address(path)
        scheme = scheme_of(path)
        if scheme in WEB:
            chunks = _from_web(path, stop, idle_seconds, warn, cut)
        elif scheme == "tcp":
            chunks = _connected(path, stop, idle_seconds, cut)
        else:
            raise UsageError(f"{name}: addresses of this kind cannot be followed")
    return Feed(name, chunks, stop.set, cut)


def _growing(path: str, stop: Event, idle_seconds: float) -> Iterator[bytes]:
    quiet_since = time.monotonic()
    while _is_empty(path) and not stop.wait(_POLL_SECONDS):  # it may be newly created
        if time.monotonic() - quiet_since > idle_seconds:
            break
    with open_file(path) as file:
        while not stop.is_set():
            data = file.read(_BLOCK)
            if data:
                quiet_since = time.monotonic()
                yield data
                continue
            if os.fstat(file.fileno()).st_size < file.tell():
                raise VideoDecodeError(
                    f"{path}: became shorter while it was followed; follow the new file"
                )
            if time.monotonic() - quiet_since > idle_seconds:
                return
            stop.wait(_POLL_SECONDS)


def _is_empty(path: str) -> bool:
    try:
        return os.path.isfile(path) and os.path.getsize(path) == 0
    except OSError:
        return False


def _piped(stop: Event, idle_seconds: float) -> Iterator[bytes]:
    incoming: Any = sys.stdin.buffer
    handle = incoming.fileno()
    if waiting := incoming.peek(0) if hasattr(incoming, "peek") else b"":
        yield incoming.read1(len(waiting))
    yield from _readable(handle, lambda: os.read(handle, _BLOCK), stop, idle_seconds)


def _connected(address: str, stop: Event, idle_seconds: float, cut: list[str]) -> Iterator[bytes]:
    parts = urlsplit(address)
    try:
        place = (parts.hostname or "", parts.port or 0)
        connection = socket.create_connection(place, timeout=_CONNECT_SECONDS)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VideoOpenError(
            f"{shown(address)}: cannot be reached ({reason}); check the address"
        ) from None
    with closing(connection):
        read = _readable(connection.fileno(), lambda: connection.recv(_BLOCK), stop, idle_seconds)
        try:
            yield from read
        except ConnectionError as error:
            cut.append(f"the connection was lost ({error.strerror or error})")


def _readable(
    handle: int, read: Callable[[], bytes], stop: Event, idle_seconds: float
) -> Iterator[bytes]:
    quiet_since = time.monotonic()
    while not stop.is_set():
        if not select.select([handle], [], [], _POLL_SECONDS)[0]:
            if time.monotonic() - quiet_since > idle_seconds:
                return
            continue
        data = read()
        if not data:
            return
        quiet_since = time.monotonic()
        yield data


def _from_web(
    url: str, stop: Event, idle_seconds: float, warn: Callable[[str], None], cut: list[str]
) -> Iterator[bytes | None]:
    response = request(url)
    with response.body as body:
        beginning = body.read(len(SIGNATURE))
        if beginning != SIGNATURE:
            done = len(beginning)
            yield beginning
            try:
                while not stop.is_set() and (data := body.read1(_BLOCK)):
                    done += len(data)
                    yield data
            except CUT as error:
                warn(f"{url}: the connection ended ({error})")
                cut.append(f"the connection ended ({error})")
            if not stop.is_set() and response.size is not None and done < response.size:
                cut.append(f"the connection ended after {done} of {response.size} bytes")
            return
    following = Following(stop.wait, idle_seconds, warn, cut.append)
    for data in playlist_parts(url, following):
        if stop.is_set():
            return
        yield data
