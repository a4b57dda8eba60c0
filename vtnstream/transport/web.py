"""Whether the network may be used, and one host of it at a time."""

from __future__ import annotations

import os
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

OFFLINE = "VTNSTREAM_OFFLINE"
"""Set by ``--offline``."""


def is_on(variable: str) -> bool:
    """Whether a variable of the environment says yes."""
    return os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")


def opener(url: str, refuse: Callable[[str], Exception]) -> urllib.request.OpenerDirector:
    """HTTP and HTTPS through the proxies of the environment, and nothing else (no ``file:``).
    Redirects are followed on the host of ``url`` only, never from https down to http.

    Args:
        url: what is asked for.
        refuse: what to raise where a server sends us elsewhere.
    """
    director = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _SameHost(url, refuse),
    ):
        director.add_handler(handler)
    return director


class _SameHost(urllib.request.HTTPRedirectHandler):
    def __init__(self, url: str, refuse: Callable[[str], Exception]) -> None:
        self._origin = urllib.parse.urlsplit(url)
        self._refuse = refuse

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        target, origin = urllib.parse.urlsplit(newurl), self._origin
        downgraded = (origin.scheme, target.scheme) == ("https", "http")
        if target.hostname != origin.hostname or downgraded:
            raise self._refuse(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
