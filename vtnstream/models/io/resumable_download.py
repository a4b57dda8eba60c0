"""Download a large file over HTTP, resuming after interruptions and checking it at the end."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from vtnstream.atomic import sync_directory
from vtnstream.errors import CheckpointError, ModelError, OutputError
from vtnstream.progress import Progress
from vtnstream.transport.web import opener

TIMEOUT_SECONDS = 30
ATTEMPTS = 5
"""Number of connections that may end early before the download fails."""
BLOCK = 2**20
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Expected:
    """Properties of a file that are known before the download; None if unknown.

    Attributes:
        size_bytes: size.
        sha256: hash in hexadecimal.
    """

    size_bytes: int | None = None
    sha256: str | None = None


def fetch(url: str, path: Path, expected: Expected, progress: Progress) -> None:
    """Download ``url`` to ``path``.

    An incomplete file is kept as ``path`` + ``.part``, with the server's ETag in ``.part.tag``. If
    the file on the server has changed, the download starts again. Redirects are followed only on
    the same host, since no other host is trusted.

    Args:
        url: HTTP or HTTPS address.
        path: final name of the file; its folder is created.
        expected: checked after the download.
        progress: shows megabytes.

    Raises:
        ModelError: the server cannot be reached, refuses the request, or the connection ends early
            every time.
        CheckpointError: size or hash are wrong; the file is deleted.
        OutputError: the file cannot be written, or another process is downloading it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock"), timeout=0):
            _Fetch(url, path, expected, progress).run()
    except Timeout as error:
        raise OutputError(f"{path}: another process is downloading it; wait for it") from error
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: the download cannot be written ({reason})") from error


class _Incomplete(Exception):
    """The connection ended before the file was complete."""


class _Fetch:
    def __init__(self, url: str, path: Path, expected: Expected, progress: Progress) -> None:
        self.url, self.path, self.expected, self.progress = url, path, expected, progress
        self.part = path.with_name(f"{path.name}.part")
        self.tag = path.with_name(f"{path.name}.part.tag")
        self.total = expected.size_bytes
        self.md5: str | None = None

    def run(self) -> None:
        """Connect until the file is complete, then check and rename it."""
        try:
            for attempt in range(1, ATTEMPTS + 1):
                before = self._have()
                try:
                    self._connect()
                    break
                except _Incomplete as error:
                    if attempt == ATTEMPTS or (self._have() <= before and attempt > 1):
                        raise ModelError(self._cut(error)) from error
            self._check()
        finally:
            self.progress.finish()
        os.replace(self.part, self.path)
        self.tag.unlink(missing_ok=True)
        sync_directory(self.path.parent)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _cut(self, error: Exception) -> str:
        of = f" of {self.total}" if self.total is not None else ""
        return (
            f"{self.url}: the connection ended after {self._have()}{of} bytes ({error}); run the "
            "same command again to resume"
        )

    def _other_host(self, target: str) -> ModelError:
        return ModelError(f"{self.url}: redirects to {target}, another host: not followed")

    def _connect(self) -> None:
        """Make one request: for the rest of the file if the server supports it, else for all."""
        have = self._have()
        tag = self.tag.read_text("utf-8") if have and self.tag.exists() else ""
        if have and not tag:  # it may not be the same file any more
            have = 0
        request = urllib.request.Request(self.url, headers={"Accept-Encoding": "identity"})
        if have:
            request.add_header("Range", f"bytes={have}-")
            request.add_header("If-Range", tag)
        try:
            web = opener(self.url, self._other_host)
            with web.open(request, timeout=TIMEOUT_SECONDS) as response:
                start = self._start(response, have, tag)
                self._receive(response, start)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and have:  # the part belongs to another file
                self._forget()
                raise _Incomplete("the part belongs to another file") from error
            raise ModelError(f"{self.url}: the server says {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise ModelError(f"{self.url}: cannot be reached ({error.reason})") from error
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _Incomplete(str(error) or type(error).__name__) from error

    def _start(self, response: Any, have: int, tag: str) -> int:
        """Return the position of the response body in the file; store the total size, ETag and
        MD5."""
        headers = response.headers
        found = _RANGE.fullmatch(headers.get("Content-Range", ""))
        new_tag = _tag(headers)
        self.md5 = headers.get("x-ms-blob-content-md5") or self.md5
        if response.status == 206:
            if found is None or int(found[1]) != have or new_tag not in ("", tag):
                self._forget()
                raise _Incomplete("the file on the server has changed")
            self._expect(int(found[2]) if found[2] != "*" else None)
            return have
        self.md5 = headers.get("Content-MD5") or self.md5
        length = headers.get("Content-Length", "")
        self._expect(int(length) if length.isdigit() else None)
        self._forget()
        self.tag.write_text(new_tag, "utf-8")
        return 0

    def _expect(self, size: int | None) -> None:
        known = self.expected.size_bytes
        if size is not None and known is not None and size != known:
            self._forget()
            raise CheckpointError(
                f"{self.url}: has {size} bytes, the published file {known}: it was replaced; "
                "download it by other means if you trust it, and give the file"
            )
        self.total = size if size is not None else known

    def _receive(self, response: Any, start: int) -> None:
        with open(self.part, "r+b" if start else "wb") as file:
            file.seek(start)
            done = start
            self.progress.start(
                self.path.name, total=None if self.total is None else self.total / 1e6, unit="MB"
            )
            while block := response.read1(BLOCK):
                file.write(block)
                done += len(block)
                if self.total is not None and done > self.total:
                    break
                self.progress.advance(done / 1e6)
            file.flush()
            os.fsync(file.fileno())
        if self.total is not None and done < self.total:
            raise _Incomplete("the response is too short")

    def _check(self) -> None:
        """Check size and hash.

        Raises:
            CheckpointError: they are wrong; the part is deleted.
        """
        have = self._have()
        if self.total is not None and have != self.total:
            self._forget()
            raise CheckpointError(f"{self.url}: received {have} bytes instead of {self.total}")
        wanted = self.expected.sha256
        if wanted is not None and (found := _digest(self.part, "sha256").hex()) != wanted:
            self._forget()
            raise CheckpointError(
                f"{self.url}: its SHA-256 is {found}, not {wanted}: it was replaced or damaged; "
                "download it by other means if you trust it, and give the file"
            )
        if self.md5 and base64.b64encode(_digest(self.part, "md5")).decode() != self.md5:
            self._forget()
            raise CheckpointError(f"{self.url}: damaged in transfer (MD5): run the command again")

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


def _tag(headers: Any) -> str:
    """Return the ETag of this version of the file, or an empty text; weak tags do not identify
    one."""
    tag: str = headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag


def _digest(path: Path, kind: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).digest()
