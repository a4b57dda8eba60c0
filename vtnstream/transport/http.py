"""Read whole files and byte ranges over HTTP, from the requested host only."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from functools import partial
from typing import Any

from vtnstream.errors import VideoOpenError
from vtnstream.transport.web import opener

TIMEOUT_SECONDS = 20
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

CUT = (http.client.HTTPException, TimeoutError, ConnectionError)
"""Exceptions that a prematurely closed connection raises."""


class ChangedError(OSError):
    """The file on the server differs from the one whose reading was begun."""


class GoneError(VideoOpenError):
    """The server does not have the file (404), or no longer has it (410)."""


@dataclass(slots=True)
class Response:
    """A response whose body has not been read.

    Attributes:
        body: object with ``read(n)`` and ``close()``.
        start: position in the file at which the body begins.
        size: size of the whole file in bytes; None if the server does not state it.
        ranges: whether the server supports byte ranges.
        version: entity tag or modification time, which identifies the version; may be empty.
        url: address after redirects.
    """

    body: Any
    start: int
    size: int | None
    ranges: bool
    version: str
    url: str


def request(
    url: str, start: int = 0, version: str | None = "", *, length: int | None = None
) -> Response:
    """Request ``url`` from byte ``start`` on.

    Args:
        url: http or https; redirects are followed on the same host only.
        start: first byte wanted.
        version: for ``start`` > 0, the response must have this version and begin at ``start``; None
            accepts any version and a response that begins at 0.
        length: number of bytes wanted, None for all to the end; the server may send more.

    Raises:
        VideoOpenError: the server cannot be reached or refuses.
        ChangedError: the server has another version now.
        ConnectionError: the connection ended early; other exceptions of ``CUT`` may pass as well.
    """
    asked = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    last = "" if length is None else start + max(length, 1) - 1
    asked.add_header("Range", f"bytes={start}-{last}")
    try:
        body = opener(url, partial(_redirect_error, url)).open(asked, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            raise VideoOpenError(f"{url}: is empty, or shorter than it was") from None
        kind = GoneError if error.code in (404, 410) else VideoOpenError
        raise kind(
            f"{url}: the server says {error.code} {error.reason}; check the address"
        ) from None
    except urllib.error.URLError as error:
        if start and isinstance(error.reason, CUT):
            raise ConnectionError(str(error.reason)) from error
        raise VideoOpenError(
            f"{url}: cannot be reached ({error.reason}); check the address"
        ) from None
    response = _response(body, url)
    other = version is not None and (response.start != start or response.version != version)
    if start and other:
        body.close()
        raise ChangedError("the file on the server has changed")
    return response


def _redirect_error(url: str, target: str) -> VideoOpenError:
    return VideoOpenError(
        f"{url}: redirects to {target}, which is refused: if that is right, name that address"
    )


def _response(body: Any, url: str) -> Response:
    headers = body.headers
    version = headers.get("ETag", "") or headers.get("Last-Modified", "")
    found = _RANGE.fullmatch(headers.get("Content-Range", ""))
    place = body.geturl() or url
    if body.status == 206 and found:
        size = int(found[2]) if found[2] != "*" else None
        return Response(body, int(found[1]), size, size is not None, version, place)
    length = headers.get("Content-Length", "")
    return Response(body, 0, int(length) if length.isdigit() else None, False, version, place)
