"""Decide whether the network may be used, and restrict each request to one host."""

from __future__ import annotations

import os
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

OFFLINE = "VTNSTREAM_OFFLINE"
"""Environment variable that ``--offline`` sets."""


def is_on(variable: str) -> bool:
    """Return whether an environment variable is 1, on, yes or true, in any case."""
    return os.environ.get(variable, "").upper() in ("1", "ON", "YES", "TRUE")


def opener(url: str, refuse: Callable[[str], Exception]) -> urllib.request.OpenerDirector:
    """Return an opener for HTTP and HTTPS alone, which uses the proxies of the environment.

    Redirects are followed on the host of ``url`` only, and never from https to http.

    Args:
        url: the requested address.
        refuse: makes the exception for a redirect to another host, from the target address.
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
