"""Bytes that come once, one after the other: a pipe, a connection, a file that grows."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from vtnstream.errors import VideoOpenError

_MOST_KEPT = 64 << 20
"""Bytes in which a stream must show what it is."""


class Feed:
    """A stream that can be opened several times from its beginning, until :meth:`play`: from
    then on it is read once, and what was read is forgotten.

    Args:
        name: for messages and results.
        chunks: the bytes; waits for them, and ends when :meth:`close` is called.
        stop: makes ``chunks`` end.
        cut: filled with reasons why what came is not all of the stream.

    Attributes:
        playing: it is read for the last time.
    """

    def __init__(
        self,
        name: str,
        chunks: Iterator[bytes],
        stop: Callable[[], None],
        cut: list[str] | None = None,
    ) -> None:
        self.name = name
        self._chunks = chunks
        self._stop = stop
        self._cut = [] if cut is None else cut
        self._kept = bytearray()
        self._forgotten = 0
        self.playing = False

    @property
    def cut_short(self) -> str | None:
        """Why what was read is not all of the stream, as far as that is known: parts of it were
        missed, or it stopped without saying that it ended. None where it ended."""
        return "; ".join(dict.fromkeys(self._cut)) or None

    def __str__(self) -> str:
        return self.name

    @property
    def num_bytes(self) -> int:
        """Bytes that have come so far."""
        return self._forgotten + len(self._kept)

    def reader(self) -> FeedReader:
        """A file object from the beginning.

        Raises:
            RuntimeError: it is gone.
        """
        if self._forgotten:
            raise RuntimeError(f"{self.name}: the beginning of the stream is gone")
        return FeedReader(self)

    def play(self) -> None:
        """The next reader is the last."""
        self.playing = True

    def close(self) -> None:
        """End the stream; whoever waits for it wakes up. From any thread."""
        self._stop()

    def read_at(self, position: int, size: int) -> bytes:
        """At least one byte from ``position`` on, unless the stream ends there."""
        while position >= self.num_bytes:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._kept += chunk
            if not self.playing and len(self._kept) > _MOST_KEPT:
                raise VideoOpenError(
                    f"{self.name}: shows no picture in its first {_MOST_KEPT >> 20} MB; is it a "
                    "video?"
                )
        offset = position - self._forgotten
        data = bytes(self._kept[offset : offset + size])
        if self.playing:
            del self._kept[: offset + len(data)]
            self._forgotten += offset + len(data)
        return data


def comes_in_order(feed: Feed) -> bool:
    """Whether the index of an MP4 (``moov``) comes before what it points to (``mdat``); True for
    all other formats, and for a stream that plays, which was asked before."""
    place, kind = 0, b"ftyp"
    while not feed.playing:
        header = b"".join(feed.read_at(place + i, 1) for i in range(16))
        size, found = int.from_bytes(header[:4]), header[4:8]
        if place == 0 and found != kind:
            return True
        if found in (b"moov", b"moof") or len(header) < 16:
            return True
        if found == b"mdat":
            return False
        size = int.from_bytes(header[8:]) if size == 1 else size
        if size < 8:
            return True
        place += size
    return True


class FeedReader(io.RawIOBase):
    """One reading of a :class:`Feed` from its beginning."""

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._feed.read_at(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
