"""Recognise addresses, check them, and remove what must not be shown."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from vtnstream.errors import UsageError
from vtnstream.transport.web import OFFLINE, is_on

WEB = ("http", "https")
STORES = ("s3", "gs", "gcs", "az", "abfs", "memory")
"""Schemes of object stores that fsspec opens."""
STREAMS = ("rtsp", "rtsps", "tcp")
"""Schemes of live streams, for ``--follow``."""
STANDARD_INPUT = "-"

_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")


def scheme_of(path: str | Path) -> str | None:
    """Return the scheme of an address in lower case (``https``), or None for a file name.

    Only a string can be an address; a :class:`Path` never is one.
    """
    found = _ADDRESS.match(path) if isinstance(path, str) else None
    return found[1].lower() if found else None


def is_address(path: str | Path) -> bool:
    """Return whether ``path`` is a network address, not the name of a file."""
    return scheme_of(path) is not None


def is_file_name(path: str | Path) -> bool:
    """Return whether ``path`` names a local file, not an address or standard input."""
    return not is_address(path) and path != STANDARD_INPUT


def check_address(address: str) -> None:
    """Check that an address may be read.

    Raises:
        UsageError: the scheme is not supported, the address contains a password, or offline mode is
            on.
    """
    if is_on(OFFLINE):
        raise UsageError(
            f"{shown(address)}: offline mode is on (--offline or {OFFLINE}): leave it out, or name "
            "a file"
        )
    scheme, parts = scheme_of(address), urlsplit(address)
    known = (*WEB, *STORES, *STREAMS)
    if scheme not in known:
        raise UsageError(f"{address}: addresses of this kind are not read (but {', '.join(known)})")
    if scheme in WEB and parts.username is not None:
        raise UsageError(
            f"{shown(address)}: an address with a password in it would end up in results and logs: "
            "use a signed address, or download the file first"
        )


def shown(path: str) -> str:
    """Return ``path`` as results and messages may show it: without the password of an address."""
    if not is_address(path):
        return path
    parts = urlsplit(path)
    if parts.password is None:
        return path
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{place}"))


def shown_name(path: str | Path) -> str:
    """Return the last part of a path or address."""
    if not is_address(path):
        return Path(path).name
    parts = urlsplit(str(path))
    return parts.path.rstrip("/").rpartition("/")[2] or parts.netloc.rpartition("@")[2]


def unsigned(address: str) -> str:
    """Return the address without its query: signatures change while the object stays the same."""
    return urlunsplit(urlsplit(address)._replace(query="", fragment=""))
