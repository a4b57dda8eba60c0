"""Reading over HTTP: whole responses and ranges, on the host that was named and no other."""

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
"""What a connection that ends early raises."""


class ChangedError(OSError):
    """The file on the server is no longer the one that was begun."""


class GoneError(VideoOpenError):
    """The server has no such file (404), or no longer (410)."""


@dataclass(slots=True)
class Response:
    """A body that is still to be read.

    Attributes:
        body: with ``read(n)`` and ``close()``.
        start: where it begins in the file.
        size: bytes of the whole file, None where the server does not say.
        ranges: the server gives parts.
        version: what tells this version of the file from another, empty where nothing does.
        url: where it came from, after redirects.
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
    """Ask for ``url`` from byte ``start`` on.

    Args:
        url: http or https; redirects are followed on its own host only.
        start: first byte wanted.
        version: the one that was begun: the response must be of it, and begin at ``start``.
            None where nothing was begun; the response may then begin at 0 all the same.
        length: bytes wanted, None for all to the end; the server may send more.

    Raises:
        VideoOpenError: the server cannot be reached or refuses.
        ChangedError: the server has another version now.
        OSError: the connection ended early (one of ``CUT``).
    """
    asked = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
    last = "" if length is None else start + max(length, 1) - 1
    asked.add_header("Range", f"bytes={start}-{last}")
    try:
        body = opener(url, partial(_elsewhere, url)).open(asked, timeout=TIMEOUT_SECONDS)
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


def _elsewhere(url: str, target: str) -> VideoOpenError:
    return VideoOpenError(
        f"{url}: sends us to {target}, which was not asked for: if that is right, name that address"
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
