"""Checks of every request before it reaches a route, as plain ASGI.

A page of another site must not read or change anything here, even if its host name resolves to this
machine (DNS rebinding): the Host header must name this server, and Origin and Sec-Fetch-Site must
not name another. Beyond this machine a token is needed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from vtnstream.config.studio import LOOPBACK

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Content-Security-Policy of all pages: nothing from another host, no inline script or style."""

HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_SAFE_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Rules:
    """Who may ask.

    Attributes:
        host: address that the server listens on.
        port: its port.
        token: secret that every request needs; None for a server of this machine alone.
        max_body_bytes: longest body.
    """

    host: str
    port: int
    token: str | None
    max_body_bytes: int

    def is_own_host(self, header: str) -> bool:
        """Whether a Host header names this server. On all interfaces the name of this machine
        and any address literal do: only foreign names can be rebound."""
        name, port = _host_and_port(header)
        if port not in (None, self.port):
            return False
        if name in LOOPBACK or name == self.host:
            return True
        if self.host in ("0.0.0.0", "::"):
            return _is_address(name) or name == socket.gethostname().lower()
        return False

    @property
    def cookie(self) -> str:
        """Name of the cookie; cookies do not distinguish ports, names do."""
        return f"vtnstream-studio-{self.port}"

    def cookie_value(self) -> str:
        """What the cookie holds in place of the token."""
        return hmac.new((self.token or "").encode(), b"cookie", hashlib.sha256).hexdigest()


class Guard:
    """The checks around an ASGI application."""

    def __init__(self, app: App, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {
            key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]
        }
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send, refusal[0], refusal[1])
            return
        if self._rules.token is not None and not self._has_token(headers):
            await self._ask_for_token(scope, send)
            return
        limited = _Limited(receive, self._rules.max_body_bytes)
        await self._app(scope, limited, _completed(send, limited))

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        if not self._rules.is_own_host(headers.get("host", "")):
            return 421, "this server is not called that: use its own address"
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope['scheme']}://{headers['host']}":
            return 403, "requests from other sites are refused"
        site = headers.get("sec-fetch-site", "same-origin")
        visited = scope["method"] in _SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("same-origin", "none") and not visited:
            return 403, "requests from other sites are refused"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._rules.max_body_bytes:
            return 413, f"the body is longer than {self._rules.max_body_bytes} bytes"
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] not in (*_SAFE_METHODS, "DELETE") and kind != "application/json":
            return 415, "send JSON, with Content-Type: application/json"
        return None

    def _has_token(self, headers: dict[str, str]) -> bool:
        rules = self._rules
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given.strip(), rules.token or ""):
            return True
        cookies = dict(
            part.strip().partition("=")[::2] for part in headers.get("cookie", "").split(";")
        )
        return _same(cookies.get(rules.cookie, ""), rules.cookie_value())

    async def _ask_for_token(self, scope: Scope, send: Send) -> None:
        """Take the token from the address once and keep it in a cookie, else refuse."""
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
        given = dict(query).get("token", "")
        if scope["method"] != "GET" or not _same(given, self._rules.token or ""):
            message = "a token is needed: open the address that vtnstream studio printed"
            await _answer(send, 401, message, ((b"www-authenticate", b"Bearer"),))
            return
        rest = urlencode([(key, value) for key, value in query if key != "token"])
        target = "/" + scope["path"].lstrip("/\\") + (f"?{rest}" if rest else "")
        cookie = (
            f"{self._rules.cookie}={self._rules.cookie_value()}; "
            "Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
        )
        location = target.encode("ascii", "replace").replace(b"\r", b"").replace(b"\n", b"")
        await _answer(send, 303, "", ((b"location", location), (b"set-cookie", cookie.encode())))


class _Limited:
    """Counts the bytes of a body, which may come without a length, and ends one that is too long
    as if the client had gone."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._left = receive, limit

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        return {"type": "http.disconnect"} if self.exceeded else message

    @property
    def exceeded(self) -> bool:
        return self._left < 0


def _completed(send: Send, body: _Limited) -> Send:
    """Add the headers that every answer has, and the status of a body that is too long."""

    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {key.lower() for key, _ in message.get("headers", ())}
            more = [(key, value) for key, value in HEADERS if key not in present]
            if b"cache-control" not in present:
                more.append((b"cache-control", b"no-cache"))
            status = 413 if body.exceeded else message["status"]
            headers = [*message.get("headers", ()), *more]
            message = {**message, "status": status, "headers": headers}
        await send(message)

    return wrapped


async def _answer(
    send: Send, status: int, error: str, more: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    body = json.dumps({"error": error}).encode() if error else b""
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *HEADERS,
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _host_and_port(header: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{header}")
        if parts.username is not None or parts.path or not parts.hostname:
            return "", None
        return parts.hostname, 80 if parts.port is None else parts.port
    except ValueError:
        return "", None


def _is_address(name: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
