"""A small local HTTP server whose faults a test can choose."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """The files of the server and how it serves them.

    Attributes:
        data: the file at ``/file``.
        ranges: whether it answers Range requests.
        cut_after: bytes after which a connection ends early, for that many connections.
        redirect: target of a redirect of ``/file``.
        md5: a Content-MD5 header.
        chunked: whether the length is omitted.
        asked: requests, in order.
    """

    data: bytes
    ranges: bool = True
    tag: str = '"one"'
    cut_after: list[int] = field(default_factory=list)
    redirect: str | None = None
    md5: str | None = None
    chunked: bool = False
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    behaviour: Behaviour
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.behaviour.asked.append((self.path, wanted))
        if self.behaviour.redirect is not None and self.path == "/file":
            self._head(302, {"Location": self.behaviour.redirect, "Content-Length": "0"})
            return
        if self.path not in ("/file", "/elsewhere"):
            self._head(404, {"Content-Length": "0"})
            return
        self._file(wanted)

    def _file(self, wanted: str | None) -> None:
        data, start = self.behaviour.data, 0
        headers = {"ETag": self.behaviour.tag}
        code = 200
        fresh = self.headers.get("If-Range") in (None, self.behaviour.tag)
        if wanted and self.behaviour.ranges and fresh:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self._head(416, {"Content-Length": "0"})
                return
            code = 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if self.behaviour.md5 and code == 200:
            headers["Content-MD5"] = self.behaviour.md5
        body = data[start:]
        cut = self.behaviour.cut_after.pop(0) if self.behaviour.cut_after else None
        if self.behaviour.chunked:
            self._head(code, {**headers, "Transfer-Encoding": "chunked"})
            part = body if cut is None else body[:cut]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
            if cut is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self._head(code, {**headers, "Content-Length": str(len(body))})
            self.wfile.write(body if cut is None else body[:cut])
        self.close_connection = cut is not None

    def _head(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Serve while the context is open; return the address of ``/file``."""
    handler = type("Handler", (_Handler,), {"behaviour": behaviour})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/file"
        finally:
            server.shutdown()
            thread.join()
