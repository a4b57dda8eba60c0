"""A large file over HTTP: goes on where it stopped, and stands only whole and checked."""

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
"""Times a connection may end early before the user is asked to run the command again."""
BLOCK = 2**20
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Expected:
    """What is known of a file before it comes; None where it is not.

    Attributes:
        size_bytes: its length.
        sha256: its hash in hexadecimal.
    """

    size_bytes: int | None = None
    sha256: str | None = None


def fetch(url: str, path: Path, expected: Expected, progress: Progress) -> None:
    """Bring ``url`` to ``path``. What has come so far waits in ``path`` + ``.part`` and the
    server's tag of it in ``.part.tag``; a part of another version is begun anew.

    Redirects are followed on the same host only: no other was vouched for.

    Raises:
        ModelError: the server cannot be reached, refuses, or the connection keeps ending.
        CheckpointError: what came has another size or hash than it should; it is removed.
        OutputError: it cannot be written, or another process is at it.
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
    """The connection ended before the file did."""


class _Fetch:
    def __init__(self, url: str, path: Path, expected: Expected, progress: Progress) -> None:
        self.url, self.path, self.expected, self.progress = url, path, expected, progress
        self.part = path.with_name(f"{path.name}.part")
        self.tag = path.with_name(f"{path.name}.part.tag")
        self.total = expected.size_bytes
        self.md5: str | None = None

    def run(self) -> None:
        """Connect until all is there, then check it and give it its name."""
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
            f"{self.url}: the connection ended after {self._have()}{of} bytes ({error}); the same "
            "command goes on from there"
        )

    def _elsewhere(self, target: str) -> ModelError:
        return ModelError(f"{self.url}: sends us to {target}, another host: not followed")

    def _connect(self) -> None:
        """One connection: from where the part ends if the server agrees, else from 0."""
        have = self._have()
        tag = self.tag.read_text("utf-8") if have and self.tag.exists() else ""
        if have and not tag:  # nothing says that it is the same file still
            have = 0
        request = urllib.request.Request(self.url, headers={"Accept-Encoding": "identity"})
        if have:
            request.add_header("Range", f"bytes={have}-")
            request.add_header("If-Range", tag)
        try:
            web = opener(self.url, self._elsewhere)
            with web.open(request, timeout=TIMEOUT_SECONDS) as response:
                start = self._start(response, have, tag)
                self._receive(response, start)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and have:  # the part is not of this file
                self._forget()
                raise _Incomplete("the part was of another file") from error
            raise ModelError(f"{self.url}: the server says {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise ModelError(f"{self.url}: cannot be reached ({error.reason})") from error
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _Incomplete(str(error) or type(error).__name__) from error

    def _start(self, response: Any, have: int, tag: str) -> int:
        """Where the body begins in the file; notes the whole size, tag and MD5."""
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
            raise _Incomplete("too little came")

    def _check(self) -> None:
        """Size and hash of all that came.

        Raises:
            CheckpointError: they are not what they should be; the part is removed.
        """
        have = self._have()
        if self.total is not None and have != self.total:
            self._forget()
            raise CheckpointError(f"{self.url}: {have} bytes came, {self.total} were promised")
        wanted = self.expected.sha256
        if wanted is not None and (found := _digest(self.part, "sha256").hex()) != wanted:
            self._forget()
            raise CheckpointError(
                f"{self.url}: its SHA-256 is {found}, not {wanted}: it was replaced or damaged; "
                "download it by other means if you trust it, and give the file"
            )
        if self.md5 and base64.b64encode(_digest(self.part, "md5")).decode() != self.md5:
            self._forget()
            raise CheckpointError(f"{self.url}: damaged on the way (MD5): run the command again")

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)


def _tag(headers: Any) -> str:
    """What identifies this version of the file; a weak tag does not."""
    tag: str = headers.get("ETag", "")
    return "" if tag.startswith("W/") else tag


def _digest(path: Path, kind: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, kind).digest()
