"""A local web server for a folder, with or without range requests."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Site:
    """Settings of the server, and a record of its requests.

    Attributes:
        folder: folder with the files.
        ranges: whether range requests are supported.
        tags: whether files have an ETag (modification time and size).
        cut_after: bytes after which each of the first connections ends early.
        asked: path and Range of each request.
        redirects: path -> address to which the client is redirected.
        sent: bytes of bodies sent.
    """

    folder: Path
    ranges: bool = True
    tags: bool = True
    cut_after: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    redirects: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    address: str = ""


class _Handler(SimpleHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site, wanted = self.site, self.headers.get("Range")
        site.asked.append((self.path, wanted))
        if self.path in site.redirects:
            self.send_response(302)
            self.send_header("Location", site.redirects[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not site.ranges:
            super().do_GET()  # what python -m http.server does
            return
        path = site.folder / self.path.lstrip("/").partition("?")[0]
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
        start = int(found[1]) if found else 0
        if start >= len(data):
            self.send_error(416)
            return
        self.send_response(206 if found else 200)
        if found:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        state = path.stat()
        if site.tags:
            self.send_header("ETag", f'"{state.st_mtime_ns:x}-{state.st_size:x}"')
            self.send_header("Last-Modified", formatdate(state.st_mtime, usegmt=True))
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        cut = site.cut_after.pop(0) if site.cut_after else None
        body = data[start:] if cut is None else data[start : start + cut]
        self.close_connection = cut is not None
        try:
            self.wfile.write(body)
            site.sent += len(body)
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that disconnect early."""


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Serve ``site`` within the context and set its ``address`` (without a final slash)."""
    handler = type("Handler", (_Handler,), {"site": site})

    def make(*args: object) -> _Handler:
        return handler(*args, directory=str(site.folder))

    with _Server(("127.0.0.1", 0), make) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        site.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
