"""Streams of bytes that arrive once, in order: a pipe, a connection, or a growing file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

from vtnstream.errors import VideoOpenError

_MAX_KEPT_BYTES = 64 << 20
"""Number of bytes within which the format of a stream must be recognised."""


class _End:
    """Marks the end of a stream."""


_END = _End()


class Feed:
    """A stream that can be read from its beginning several times before :meth:`play`.

    After :meth:`play` it is read once more, and bytes are discarded after reading. A stream may
    consist of parts, which are files of their own (:meth:`next_part`).

    Args:
        name: name for messages and results.
        chunks: iterator that waits for bytes and yields them, and None where a new part begins; it
            ends after :meth:`close`.
        stop: function that makes ``chunks`` end.
        cut: list to which ``chunks`` appends reasons why the stream is incomplete.

    Attributes:
        playing: whether :meth:`play` was called.
    """

    def __init__(
        self,
        name: str,
        chunks: Iterator[bytes | None],
        stop: Callable[[], None],
        cut: list[str] | None = None,
    ) -> None:
        self.name = name
        self._chunks = chunks
        self._stop = stop
        self._cut = [] if cut is None else cut
        self._kept = bytearray()
        self._forgotten = 0
        self._part_start = 0
        self._is_part_over = False
        self.playing = False

    @property
    def cut_short(self) -> str | None:
        """Known reasons why the stream is incomplete, or None.

        Parts were missed, or the stream stopped without an end marker.
        """
        return "; ".join(dict.fromkeys(self._cut)) or None

    def __str__(self) -> str:
        return self.name

    @property
    def num_bytes(self) -> int:
        """Number of bytes received so far."""
        return self._forgotten + len(self._kept)

    def reader(self) -> FeedReader:
        """Return a file object that reads from the beginning of the current part.

        Raises:
            RuntimeError: the beginning was discarded.
        """
        if self._forgotten > self._part_start:
            raise RuntimeError(f"{self.name}: the beginning of the stream is gone")
        return FeedReader(self, self._part_start)

    def next_part(self) -> bool:
        """Discard the rest of the current part and move to the next one, waiting if needed.

        Returns:
            False if the stream has ended.
        """
        while not self._is_part_over and self._receive():
            self._forget_kept()
        if not self._is_part_over:
            return False
        self._forget_kept()
        self._part_start, self._is_part_over = self._forgotten, False
        return True

    def play(self) -> None:
        """Start the last reading: bytes are discarded after they are read."""
        self.playing = True

    def close(self) -> None:
        """End the stream and wake a reader that waits for it. Callable from any thread."""
        self._stop()

    def read_at(self, position: int, size: int) -> bytes:
        """Return 1 to ``size`` bytes from ``position`` on, waiting if needed; empty at the end of
        the current part.

        Raises:
            VideoOpenError: the stream does not play yet, and too many bytes were kept.
        """
        while position >= self.num_bytes:
            if self._is_part_over or not self._receive():
                return b""
            if not self.playing and len(self._kept) > _MAX_KEPT_BYTES:
                raise VideoOpenError(
                    f"{self.name}: no frame could be decoded from its first "
                    f"{_MAX_KEPT_BYTES >> 20} MB; is it a video?"
                )
        offset = position - self._forgotten
        data = bytes(self._kept[offset : offset + size])
        if self.playing:
            del self._kept[: offset + len(data)]
            self._forgotten += offset + len(data)
        return data

    def _receive(self) -> bool:
        """Wait for the next bytes, or for the end of the part; return False at the end of the
        stream."""
        chunk = next(self._chunks, _END)
        if isinstance(chunk, _End):
            return False
        if chunk is None:
            self._is_part_over = True
        else:
            self._kept += chunk
        return True

    def _forget_kept(self) -> None:
        self._forgotten += len(self._kept)
        self._kept.clear()


def comes_in_order(feed: Feed) -> bool:
    """Return whether an MP4's index (``moov``) precedes the data it refers to (``mdat``).

    The result is True for all other formats, and for a stream that plays already.
    """
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
    """File object that reads one part of a :class:`Feed` from its beginning."""

    def __init__(self, feed: Feed, start: int = 0) -> None:
        super().__init__()
        self._feed = feed
        self._position = start

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
