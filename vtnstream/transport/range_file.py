"""Random access to a file on a web server with range requests, without downloading it first."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections import OrderedDict

from vtnstream.transport.http import CUT, ChangedError, Response, request

_BLOCK = 1 << 18
_MAX_BLOCKS = 32
"""Number of blocks in the cache (8 MiB): enough for containers that store audio and video apart."""
_SKIPPED = 4
"""Maximum number of blocks to read through instead of sending a new request."""
_ATTEMPTS = 5


class RangeFile(io.RawIOBase):
    """File object over a remote file, with a cache of blocks.

    If a connection breaks, a new one continues at the same position and must find the same
    version.

    Args:
        url: address of the file.
        first: response to a request for the whole file.

    Raises:
        ValueError: the response does not state the size.
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
        """Read block ``number``, and the blocks before it if the open connection is close to it."""
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
            while len(self._blocks) > _MAX_BLOCKS:
                self._blocks.popitem(last=False)
            if self._next > number:
                return bytes(data)
