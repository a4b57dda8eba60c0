"""HLS playlists: their segments as one stream of bytes, from the playlist's own host only.

Segments of MPEG-TS, and of fragmented MP4 with their initialisation, are streams when they are
put one after the other, so that no media library has to follow a playlist.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

from vtnstream.errors import UsageError, VideoOpenError
from vtnstream.transport.http import CUT, request

SIGNATURE = b"#EXTM3U"
_MOST_BYTES = 4 << 20
_BLOCK = 1 << 16
_ATTEMPTS = 4
_FROM_THE_END = 3
"""Segments of a live playlist that are still taken, as players do."""
_MOST_VARIANTS_DEEP = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the stream; ``length`` None is all of it from ``start`` on."""

    url: str
    start: int = 0
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Playlist:
    """Pieces numbered from ``first`` on, each with what must stand before it (or None).

    Attributes:
        ended: no more will come.
        growing: nothing is ever taken away at its beginning.
        seconds: longest duration of a piece: how often it is worth looking again.
        variants: other playlists of the same film, as (bits a second, address).
    """

    first: int
    segments: tuple[tuple[Segment | None, Segment], ...]
    ended: bool
    growing: bool
    seconds: float
    variants: tuple[tuple[int, str], ...] = ()


def read_playlist(url: str, text: str) -> Playlist:
    """What a playlist says.

    Raises:
        VideoOpenError: it names another host, is encrypted, or makes no sense.
    """
    first, seconds, ended, growing = 0, 6.0, False, False
    part: tuple[int, int | None] = (0, None)
    ahead: Segment | None = None
    segments: list[tuple[Segment | None, Segment]] = []
    variants: list[tuple[int, str]] = []
    bits: int | None = None
    for line in (line.strip() for line in text.splitlines()):
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-MEDIA-SEQUENCE":
            first = _number(url, value)
        elif tag == "#EXT-X-TARGETDURATION":
            seconds = max(0.5, float(_number(url, value)))
        elif tag == "#EXT-X-ENDLIST":
            ended = True
        elif tag == "#EXT-X-PLAYLIST-TYPE":
            growing = True
        elif tag == "#EXT-X-KEY" and "METHOD=NONE" not in value:
            raise VideoOpenError(f"{url}: is encrypted; remove its copy protection first")
        elif tag == "#EXT-X-BYTERANGE":
            part = _part(url, value, segments[-1][1] if segments else None)
        elif tag == "#EXT-X-MAP":
            found = re.search(r'URI="([^"]*)"', value)
            within = re.search(r'BYTERANGE="([^"]*)"', value)
            place = _part(url, within[1], None) if within else (0, None)
            ahead = Segment(_own(url, found[1] if found else ""), *place)
        elif tag == "#EXT-X-STREAM-INF":
            rate = re.search(r"(?:^|,)BANDWIDTH=(\d+)", value)
            bits = int(rate[1]) if rate else 0
        elif line and not line.startswith("#"):
            if bits is not None:
                variants.append((bits, _own(url, line)))
                bits = None
            else:
                segments.append((ahead, Segment(_own(url, line), *part)))
                part = (0, None)
    return Playlist(first, tuple(segments), ended, growing, seconds, tuple(variants))


def _number(url: str, text: str) -> int:
    if not re.fullmatch(r"\s*\d{1,15}(\.\d*)?\s*", text):
        raise VideoOpenError(f"{url}: is no playlist that makes sense ({text[:40]!r})")
    return int(float(text))


def _part(url: str, text: str, before: Segment | None) -> tuple[int, int]:
    length, _, start = text.partition("@")
    if start:
        return _number(url, start), _number(url, length)
    begin = before.start + (before.length or 0) if before else 0
    return begin, _number(url, length)


def _own(url: str, name: str) -> str:
    """The address of ``name`` in the playlist at ``url``.

    Raises:
        VideoOpenError: it is on another host.
    """
    try:
        there, here = urlsplit(urljoin(url, name)), urlsplit(url)
        own = there.scheme in ("http", "https") and there.netloc == here.netloc
    except ValueError:
        own = False
    if not own:
        raise VideoOpenError(
            f"{url}: names {name[:200]}, which is not on its own host: only what was named on the "
            "command line is read"
        )
    return there.geturl()


def playlist_bytes(
    url: str,
    *,
    live: bool,
    wait: Callable[[float], bool] = lambda _: True,
    idle_seconds: float = 30.0,
    warn: Callable[[str], None] = lambda _: None,
) -> Iterator[bytes]:
    """The segments of a playlist, one after the other, to its end.

    Args:
        url: of the playlist; of several variants the one with the highest rate is taken.
        live: go on as it grows; its last segments are where a live one begins.
        wait: waits so many seconds; True where it is time to stop.
        idle_seconds: without a new segment for so long, the stream has ended.
        warn: told of segments that were missed.

    Raises:
        VideoOpenError: it cannot be read.
        UsageError: it is still growing, and ``live`` is False.
    """
    url, playlist = _chosen(url)
    if not playlist.ended and not live:
        raise UsageError(f"{url}: is still growing: read it with --follow")
    following = playlist.first
    if not playlist.ended and not playlist.growing:
        following += max(0, len(playlist.segments) - _FROM_THE_END)
    ahead: Segment | None = None
    news = time.monotonic()
    while True:
        if playlist.first > following:
            warn(f"{url}: {playlist.first - following} segments were missed")
            following = playlist.first
        for before, segment in playlist.segments[following - playlist.first :]:
            if before is not None and before != ahead:
                yield from _bytes_of(before)
                ahead = before
            yield from _bytes_of(segment)
            following, news = following + 1, time.monotonic()
        if playlist.ended or time.monotonic() - news > idle_seconds or wait(playlist.seconds / 2):
            return
        playlist = _fetched(url)


def _chosen(url: str) -> tuple[str, Playlist]:
    for _ in range(_MOST_VARIANTS_DEEP):
        playlist = _fetched(url)
        if not playlist.variants:
            return url, playlist
        url = max(playlist.variants)[1]
    raise VideoOpenError(f"{url}: playlists that name playlists that name playlists")


def _fetched(url: str) -> Playlist:
    data = b"".join(_bytes_of(Segment(url), most=_MOST_BYTES))
    if not data.startswith(SIGNATURE):
        raise VideoOpenError(f"{url}: is no playlist (it does not begin with #EXTM3U)")
    return read_playlist(url, data.decode("utf-8", "replace"))


def _bytes_of(segment: Segment, most: int | None = None) -> Iterator[bytes]:
    """All of a segment; where the connection ends, it goes on from there."""
    done, attempt, version = 0, 0, ""
    while True:
        try:
            response = request(segment.url, segment.start + done, version)
            version = response.version
            with response.body as body:
                if response.start == 0 and segment.start:
                    raise VideoOpenError(f"{segment.url}: its server gives no parts of it")
                left = segment.length if segment.length is not None else response.size
                left = None if left is None else left - done
                if segment.length is None and left is not None:
                    left -= segment.start
                while left is None or left > 0:
                    data = body.read(_BLOCK if left is None else min(_BLOCK, left))
                    if not data:
                        break
                    done += len(data)
                    left = None if left is None else left - len(data)
                    if most is not None and done > most:
                        raise VideoOpenError(f"{segment.url}: is too long for a playlist")
                    yield data
                if left:
                    raise ConnectionError("too little came")
                return
        except CUT as error:
            attempt += 1
            if attempt == _ATTEMPTS:
                raise VideoOpenError(
                    f"{segment.url}: the connection keeps ending ({error})"
                ) from error
            time.sleep(0.2 * attempt)
