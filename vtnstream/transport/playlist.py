"""Parse an HLS playlist (RFC 8216): its segments, or the variants that it offers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from vtnstream.errors import VideoOpenError

_ATTRIBUTE = re.compile(r'\s*([A-Z0-9-]+)=("[^"]*"|[^",]*)\s*(?:,|$)')
_NUMBER = re.compile(r"\s*\d{1,15}(\.\d*)?\s*")
_SHORTEST_SECONDS, _USUAL_SECONDS = 0.5, 6.0
_VIDEO_CODECS = ("avc", "hvc", "hev", "dvh", "dva", "vp0", "vp8", "vp9", "av01", "vvc", "mp4v")


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment or initialisation section: ``length`` bytes from ``start`` of a file, or all from
    there.

    Attributes:
        new_clock: whether its timestamps do not continue those of the segment before
            (``EXT-X-DISCONTINUITY``).
    """

    url: str
    start: int = 0
    length: int | None = None
    new_clock: bool = False


@dataclass(frozen=True, slots=True)
class Playlist:
    """A parsed playlist.

    Attributes:
        first: number of the first segment.
        segments: (initialisation section or None, segment) in order; the segment is None if the
            playlist declares it missing (``EXT-X-GAP``).
        ended: whether the playlist is complete.
        growing: whether segments are only added, and none is removed from the beginning.
        seconds: maximum duration of a segment, which determines how often to reload.
        variants: other playlists of the same video, as (bits per second, address).
    """

    first: int
    segments: tuple[tuple[Segment | None, Segment | None], ...]
    ended: bool
    growing: bool
    seconds: float
    variants: tuple[tuple[int, str], ...] = ()


def read_playlist(url: str, text: str) -> Playlist:
    """Parse a playlist.

    Args:
        url: address of the playlist after redirects; relative names refer to it.
        text: content of the playlist.

    Raises:
        VideoOpenError: the playlist is malformed or encrypted, or names another host.
    """
    found = _Reading(url)
    for line in (line.strip() for line in text.splitlines()):
        if line.startswith("#EXT"):
            tag, _, value = line.partition(":")
            found.tag(tag, value)
        elif line and not line.startswith("#"):
            found.name(line)
    return Playlist(
        found.first,
        tuple(found.segments),
        found.ended,
        found.growing,
        found.seconds,
        tuple(found.variants),
    )


@dataclass(slots=True)
class _Reading:
    """State of the parser."""

    url: str
    first: int = 0
    seconds: float = _USUAL_SECONDS
    ended: bool = False
    growing: bool = False
    segments: list[tuple[Segment | None, Segment | None]] = field(default_factory=list)
    variants: list[tuple[int, str]] = field(default_factory=list)
    _ahead: Segment | None = None
    _range: tuple[int | None, int] | None = None
    _bits: int | None = None
    _missing: bool = False
    _new_clock: bool = False
    _before: Segment | None = None

    def tag(self, tag: str, value: str) -> None:
        """Process a line that begins with ``#EXT``."""
        match tag:
            case "#EXT-X-MEDIA-SEQUENCE":
                self.first = self._number(value)
            case "#EXT-X-TARGETDURATION":
                self.seconds = max(_SHORTEST_SECONDS, float(self._number(value)))
            case "#EXT-X-ENDLIST":
                self.ended = True
            case "#EXT-X-PLAYLIST-TYPE":
                self.growing = True
                self.ended |= value.strip() == "VOD"
            case "#EXT-X-KEY" | "#EXT-X-SESSION-KEY":
                self._refuse_encrypted(value)
            case "#EXT-X-BYTERANGE":
                self._range = self._span(value)
            case "#EXT-X-MAP":
                self._ahead = self._map(value)
            case "#EXT-X-GAP":
                self._missing = True
            case "#EXT-X-DISCONTINUITY":
                self._new_clock = True
            case "#EXT-X-STREAM-INF":
                self._bits = self._bits_of(value)

    def name(self, line: str) -> None:
        """Process a line with the address of a segment or variant."""
        url = _own_address(self.url, line)
        if self._bits is not None:
            if self._bits >= 0:
                self.variants.append((self._bits, url))
            self._bits = None
            return
        segment = self._segment(url)
        self.segments.append((self._ahead, None if self._missing else segment))
        self._new_clock &= self._missing
        self._range, self._missing, self._before = None, False, segment

    def _segment(self, url: str) -> Segment:
        if self._range is None:
            return Segment(url, new_clock=self._new_clock)
        start, length = self._range
        if start is None:
            before = self._before
            if before is None or before.url != url or before.length is None:
                raise VideoOpenError(
                    f"{self.url}: is an invalid playlist (a byte range without an offset that "
                    "follows none)"
                )
            start = before.start + before.length
        return Segment(url, start, length, self._new_clock)

    def _map(self, value: str) -> Segment:
        found = _attributes(value)
        url = _own_address(self.url, found.get("URI", ""))
        if "BYTERANGE" not in found:
            return Segment(url)
        start, length = self._span(found["BYTERANGE"])
        return Segment(url, start or 0, length)

    def _span(self, text: str) -> tuple[int | None, int]:
        length, _, start = text.partition("@")
        return (self._number(start) if start else None), self._number(length)

    def _number(self, text: str) -> int:
        if not _NUMBER.fullmatch(text):
            raise VideoOpenError(f"{self.url}: is an invalid playlist ({text[:40]!r})")
        return int(float(text))

    def _refuse_encrypted(self, value: str) -> None:
        method = _attributes(value).get("METHOD", "")
        if method != "NONE":
            raise VideoOpenError(
                f"{self.url}: is encrypted ({method[:20] or 'no method'}), and vtnstream does not "
                "decrypt; give it the decrypted file"
            )

    @staticmethod
    def _bits_of(value: str) -> int:
        """Return the bits per second of a variant; -1 for a variant without video."""
        found = _attributes(value)
        codecs = found.get("CODECS", "").lower()
        known = [c.strip() for c in codecs.split(",") if "." in c or len(c.strip()) == 4]
        if known and "RESOLUTION" not in found and not any(map(_is_video, known)):
            return -1
        bits = found.get("BANDWIDTH", "")
        return int(bits) if bits.isascii() and bits.isdigit() and len(bits) < 16 else 0


def _is_video(codec: str) -> bool:
    return codec.startswith(_VIDEO_CODECS)


def _attributes(text: str) -> dict[str, str]:
    """Parse an attribute list; parsing stops at a malformed attribute."""
    found: dict[str, str] = {}
    place = 0
    while match := _ATTRIBUTE.match(text, place):
        found[match[1]] = match[2].strip().strip('"')
        place = match.end()
        if place >= len(text):
            break
    return found


def _own_address(url: str, name: str) -> str:
    """Return the address of ``name`` in the playlist at ``url``.

    Raises:
        VideoOpenError: the address is on another host.
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
