"""A file on a web server that gives parts, as a file object: read where it lies."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections import OrderedDict

from vtnstream.transport.http import CUT, ChangedError, Response, request

_BLOCK = 1 << 18
_MOST_BLOCKS = 32
"""8 MiB: enough for containers that keep sound and pictures apart."""
_SKIPPED = 4
"""Blocks that are read over sooner than asking anew."""
_ATTEMPTS = 5


class RangeFile(io.RawIOBase):
    """Blocks of a remote file; a connection that ends is made anew where it stopped, and
    must then find the same version.

    Args:
        url: where.
        first: the response to a request for all of it.
    """

    def __init__(self, url: str, first: Response) -> None:
        super().__init__()
        if first.size is None:
            raise ValueError("a file of unknown size cannot be read in parts")
        self.url, self.size, self.version = url, first.size, first.version
        self._response: Response | None = first
        self._next = 0
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if not len(view) or self._position >= self.size:
            return 0
        number, offset = divmod(self._position, _BLOCK)
        part = self._block(number)[offset : offset + len(view)]
        view[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        self._disconnect()
        super().close()

    def _disconnect(self) -> None:
        if self._response is not None:
            with contextlib.suppress(OSError):
                self._response.body.close()
            self._response = None

    def _block(self, number: int) -> bytes:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        for attempt in range(_ATTEMPTS):
            try:
                return self._fetch(number)
            except CUT as error:
                self._disconnect()
                if attempt + 1 == _ATTEMPTS:
                    raise OSError(f"the connection keeps ending: {error}") from error
                time.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")

    def _fetch(self, number: int) -> bytes:
        """Block ``number``, and those on the way to it."""
        if self._response is None or not 0 <= number - self._next <= _SKIPPED:
            self._disconnect()
            self._response, self._next = request(self.url, number * _BLOCK, self.version), number
            if (self._response.size, self._response.version) != (self.size, self.version):
                raise ChangedError("the file on the server has changed")
        while True:
            wanted = min(_BLOCK, self.size - self._next * _BLOCK)
            data = self._response.body.read(wanted)
            if len(data) < wanted:
                raise ConnectionError("too little came")
            self._blocks[self._next] = data
            self._next += 1
            while len(self._blocks) > _MOST_BLOCKS:
                self._blocks.popitem(last=False)
            if self._next > number:
                return bytes(data)
