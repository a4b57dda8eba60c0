"""Read the segments of an HLS playlist as one stream of bytes, from the playlist's own host only.

Concatenated MPEG-TS segments, and concatenated fragmented MP4 segments after their
initialisation section, form a valid stream, so that no media library has to follow a playlist.
Where the initialisation section changes, or timestamps begin anew, a new run begins
(:func:`playlist_runs`), which is a file of its own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vtnstream.errors import UsageError, VideoOpenError
from vtnstream.transport.address import unsigned
from vtnstream.transport.http import CUT, ChangedError, GoneError, request
from vtnstream.transport.playlist import Playlist, Segment, read_playlist
from vtnstream.transport.ts_continuity import Continuity
from vtnstream.wording import plural

SIGNATURE = b"#EXTM3U"
_MAX_BYTES = 4 << 20
_BLOCK = 1 << 16
_ATTEMPTS = 4
_FROM_THE_END = 3
"""Number of last segments with which reading of a live playlist begins, as in players."""
_MAX_VARIANTS_DEEP = 2
_REMEMBERED = 1000
"""Number of segments that are recognised when a live playlist restarts its numbering."""


_Key = tuple[str, int]


@dataclass(slots=True)
class Following:
    """Settings for following a live playlist.

    Attributes:
        wait: waits for the given seconds; returns True to stop.
        idle_seconds: the stream ends if no new segment appears for this time.
        warn: receives warnings about missed segments and replaced variants.
        cut_short: receives the reason if parts are missing, or if the playlist stops without an end
            marker.
    """

    wait: Callable[[float], bool] = lambda _: True
    idle_seconds: float = 30.0
    warn: Callable[[str], None] = lambda _: None
    cut_short: Callable[[str], None] = lambda _: None


def playlist_runs(url: str, following: Following | None = None) -> Iterator[tuple[int, bytes]]:
    """Read the segments of a playlist in order, to its end.

    Args:
        url: address of the playlist; among variants the one with the highest bit rate is read.
        following: settings for a playlist that still grows, which is read from its last segments
            on; None accepts only a playlist that has ended.

    Yields:
        The number of the run, from 0, and bytes of it; a new run begins where the initialisation
        section changes, and where the playlist states that timestamps do not continue.

    Raises:
        VideoOpenError: the playlist or a segment cannot be read.
        UsageError: the playlist still grows, and ``following`` is None.
    """
    reading = _Playlists(url)
    playlist = reading.chosen()
    if not playlist.ended and following is None:
        raise UsageError(f"{url}: is still growing: read it with --follow")
    yield from _Stream(reading, following or Following(), live=following is not None).runs(playlist)


def playlist_parts(url: str, following: Following) -> Iterator[bytes | None]:
    """Read a playlist as a stream of bytes, with None where a new run begins.

    Errors are those of :func:`playlist_runs`.
    """
    current = 0
    for run, data in playlist_runs(url, following):
        if run != current:
            current = run
            yield None
        yield data


@dataclass(slots=True)
class _Playlists:
    """Fetches the playlist at ``url`` and switches to another variant if one disappears."""

    url: str
    _failed: set[str] = field(default_factory=set)
    _media: str | None = None

    def chosen(self) -> Playlist:
        """Return the playlist at ``url``, or its available variant with the highest bit rate.

        Raises:
            VideoOpenError: none is available, or playlists are nested too deep.
        """
        url = self.url
        for _ in range(_MAX_VARIANTS_DEEP):
            playlist = _fetched(url)
            if not playlist.variants:
                self._media = url
                return playlist
            offered = [v for v in playlist.variants if v[1] not in self._failed]
            if not offered:
                break
            url = max(offered)[1]
        else:
            raise VideoOpenError(f"{self.url}: playlists are nested too deep")
        raise VideoOpenError(f"{self.url}: none of its variants can be read; check the address")

    def again(self, warn: Callable[[str], None]) -> Playlist:
        """Return the current state of the playlist, or of another variant if it has disappeared.

        Raises:
            VideoOpenError: none can be read at present.
        """
        media = self._media or self.url
        try:
            return _fetched(media)
        except VideoOpenError:
            if media == self.url:
                raise
            self._failed.add(media)
            try:
                playlist = self.chosen()
            except VideoOpenError:
                self._failed.clear()
                raise
            warn(f"{media}: is gone: {self._media} is read in its place")
            return playlist


@dataclass(slots=True)
class _Stream:
    """Reads segments as they appear, without repetition, and counts those that were missed."""

    playlists: _Playlists
    following: Following
    live: bool
    _run: int | None = None
    _initialisation: Segment | None = None
    _read: bytes = b""
    _header: bytes = b""
    _next: int = 0
    _known: deque[_Key] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _num_missed: int = 0
    _counters: Continuity = field(default_factory=Continuity)

    def runs(self, playlist: Playlist) -> Iterator[tuple[int, bytes]]:
        self._next = playlist.first
        if not playlist.ended and not playlist.growing:
            self._next += max(0, len(playlist.segments) - _FROM_THE_END)
        news = time.monotonic()
        following = self.following
        while True:
            for before, segment in self._new(playlist):
                yield from self._bytes(before, segment)
                news = time.monotonic()
            if playlist.ended:
                return
            if time.monotonic() - news > following.idle_seconds:
                following.cut_short(
                    f"nothing came for {following.idle_seconds:g} s, and the playlist does not say "
                    "that it has ended"
                )
                return
            if following.wait(playlist.seconds / 2):
                return
            try:
                playlist = self.playlists.again(following.warn)
            except VideoOpenError as error:
                following.warn(f"{error}; trying again")

    def _new(self, playlist: Playlist) -> Iterator[tuple[Segment | None, Segment | None]]:
        """Yield the segments of a playlist that were not read yet."""
        url, stop = self.playlists.url, playlist.first + len(playlist.segments)
        fresh = self._num_new(playlist)
        if fresh and self._is_renumbered(playlist):
            self.following.warn(f"{url}: its sequence numbers restart at {playlist.first}")
            self._next = stop - fresh
        if playlist.first > self._next:
            self._count_missed(playlist.first - self._next)
            self._next = playlist.first
        for item in playlist.segments[max(0, self._next - playlist.first) :]:
            self._next += 1
            yield item

    def _num_new(self, playlist: Playlist) -> int:
        """Return the number of segments at the end of a playlist with addresses not read yet."""
        known, count = set(self._known), 0
        for _, segment in reversed(playlist.segments):
            if segment is not None and _key(segment) in known:
                break
            count += 1
        return count

    def _is_renumbered(self, playlist: Playlist) -> bool:
        """Return whether the playlist has restarted its numbering.

        That is so if the number of the segment read last lies beyond the end of the playlist, or
        now belongs to another address.
        """
        if not self._known:
            return False
        last = self._next - 1 - playlist.first
        if last >= len(playlist.segments):
            return True
        segment = playlist.segments[last][1] if last >= 0 else None
        return segment is not None and _key(segment) != self._known[-1]

    def _count_missed(self, count: int) -> None:
        self._num_missed += count
        self.following.warn(
            f"{self.playlists.url}: {plural(count, 'segment was', 'segments were')} missed"
        )
        self.following.cut_short(f"segments missed: {self._num_missed}")

    def _bytes(
        self, before: Segment | None, segment: Segment | None
    ) -> Iterator[tuple[int, bytes]]:
        if segment is None:
            self._count_missed(1)
            return
        self._known.append(_key(segment))
        counters = self._counters
        counters.begin()
        try:
            header = self._header_of(before)
            if self._run is None or segment.new_clock or header != self._header:
                self._run = 0 if self._run is None else self._run + 1
                self._header = header
                yield self._run, header
            for data in _bytes_of(segment):
                yield self._run, counters.take(data)
            yield self._run, counters.end()
        except GoneError:
            if not self.live:
                raise
            self._count_missed(1)

    def _header_of(self, section: Segment | None) -> bytes:
        """Return the content of an initialisation section, empty for None. Sections are compared by
        content, because addresses may be signed anew."""
        if section is None:
            return b""
        if section == self._initialisation:
            return self._read
        self._read = b"".join(_bytes_of(section))
        self._initialisation = section
        return self._read


def _key(segment: Segment) -> _Key:
    """Return what identifies a segment even if its address is signed again."""
    return unsigned(segment.url), segment.start


def _fetched(url: str) -> Playlist:
    try:
        response = request(url, 0, None)
        with response.body as body:
            data = body.read(_MAX_BYTES + 1)
    except CUT as error:
        raise VideoOpenError(f"{url}: the connection ended ({error}); try again") from error
    if len(data) > _MAX_BYTES:
        raise VideoOpenError(f"{url}: is too long for a playlist")
    if not data.startswith(SIGNATURE):
        raise VideoOpenError(f"{url}: is not a playlist (it does not begin with #EXTM3U)")
    return read_playlist(response.url, data.decode("utf-8", "replace"))


def _bytes_of(segment: Segment) -> Iterator[bytes]:
    """Yield all bytes of a segment; after a broken connection, reading continues where it ended.

    Raises:
        GoneError: the server does not have the file.
        VideoOpenError: it cannot be read, or changed meanwhile.
    """
    done, attempt = 0, 0
    version: str | None = None
    while segment.length is None or done < segment.length:
        rest = None if segment.length is None else segment.length - done
        try:
            response = request(segment.url, segment.start + done, version, length=rest)
            version = response.version
            with response.body as body:
                for data in _body(response.start, body, segment.start + done, rest, response.size):
                    done += len(data)
                    yield data
            return
        except ChangedError as error:
            raise VideoOpenError(f"{segment.url}: changed while it was read; try again") from error
        except CUT as error:
            attempt += 1
            if attempt == _ATTEMPTS:
                raise VideoOpenError(
                    f"{segment.url}: the connection keeps ending ({error})"
                ) from error
            time.sleep(0.2 * attempt)


def _body(
    begins: int, body: object, start: int, length: int | None, size: int | None
) -> Iterator[bytes]:
    """Yield the ``length`` bytes from ``start`` of the file on, or all of them, from a response.

    Args:
        begins: position in the file at which the response begins. A server without range requests
            begins at 0, and the bytes before ``start`` are skipped.
        body: body of the response.
        start: first byte wanted.
        length: number of bytes wanted; None for all.
        size: size of the file; None if the server does not state it.

    Raises:
        ConnectionError: the response ended early.
    """
    skipped = start - begins
    left = length if length is not None else None if size is None else size - start
    while left is None or left > 0:
        wanted = skipped if skipped > 0 else _BLOCK if left is None else left
        data = body.read(min(_BLOCK, wanted))  # type: ignore[attr-defined]
        if not data:
            break
        if skipped > 0:
            skipped -= len(data)
            continue
        left = None if left is None else left - len(data)
        yield data
    if left:
        raise ConnectionError("too little came")
