"""Streams can be read repeatedly until they play; afterwards nothing is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.synth import SyntheticVideo
from vtnstream.errors import VideoOpenError
from vtnstream.transport import feed as feeds
from vtnstream.transport.feed import Feed, comes_in_order
from vtnstream.transport.hls import read_playlist
from vtnstream.transport.live_stream import open_feed


def test_a_stream_is_kept_until_it_plays_and_then_discarded() -> None:
    pulled = []

    def chunks() -> Iterator[bytes]:
        for number in range(100):
            pulled.append(number)
            yield bytes([number]) * 1000

    feed = Feed("stream", chunks(), lambda: None)
    for _ in range(2):
        assert feed.reader().read(1500) == bytes(1000)  # one chunk is available
        assert len(pulled) == 1
    feed.play()
    reader, data = feed.reader(), b""
    while part := reader.read(1500):
        data += part
        assert len(feed._kept) <= 1000
    assert data == b"".join(bytes([number]) * 1000 for number in range(100))
    with pytest.raises(RuntimeError, match="gone"):
        feed.reader()


def test_a_stream_is_read_part_by_part() -> None:
    feed = Feed("stream", iter([b"ab", None, b"cd", b"", b"ef", None, b"gh"]), lambda: None)
    for _ in range(2):
        assert feed.reader().read() == b"ab", "before it plays, as often as needed"
    feed.play()
    assert feed.reader().read(1) == b"a"
    assert feed.next_part(), "the rest of the part is discarded"
    assert feed.reader().read() == b"cdef"
    assert feed.next_part()
    assert feed.reader().read() == b"gh"
    assert not feed.next_part() and not feed.next_part()


def test_a_stream_without_a_known_format_does_not_fill_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feeds, "_MAX_KEPT_BYTES", 10_000)
    feed = Feed("stream", iter([bytes(1000)] * 100), lambda: None)
    with pytest.raises(VideoOpenError, match="is it a video"):
        feed.read_at(50_000, 1)


def test_closing_wakes_a_reader_of_a_growing_file(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"begin")
    feed = open_feed(str(path), idle_seconds=60, warn=lambda _: None)
    assert feed.read_at(0, 10) == b"begin"
    threading.Timer(0.2, feed.close).start()
    began = time.monotonic()
    assert feed.read_at(5, 10) == b""
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("muxer", "expected"),
    [({}, False), ({"movflags": "faststart"}, True), ({"movflags": "frag_keyframe"}, None)],
)
def test_the_position_of_the_index_of_an_mp4_is_found(
    tmp_path: Path, muxer: dict[str, str], expected: bool | None
) -> None:
    data = SyntheticVideo(count=10, muxer=muxer).write(tmp_path / "film.mp4").read_bytes()
    if expected is None:
        expected = data.index(b"moov") < data.index(b"mdat")
    assert comes_in_order(Feed("film", iter([data]), lambda: None)) is expected


def test_other_formats_come_in_order(tmp_path: Path) -> None:
    data = SyntheticVideo(count=10).write(tmp_path / "film.mkv").read_bytes()
    assert comes_in_order(Feed("film", iter([data]), lambda: None))
    assert comes_in_order(Feed("film", iter([b"short"]), lambda: None))


def test_playlists_are_parsed() -> None:
    text = """#EXTM3U
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-TARGETDURATION:4
#EXT-X-MAP:URI="head.mp4",BYTERANGE="100@20"
#EXTINF:4,
#EXT-X-BYTERANGE:1000@500
all.mp4
#EXTINF:4,
#EXT-X-BYTERANGE:800
all.mp4
#EXTINF:4,
/other/tail.m4s?x=1
"""
    found = read_playlist("https://host:8/a/list.m3u8", text)
    head = found.segments[0][0]
    assert head is not None and (head.url, head.start, head.length) == (
        "https://host:8/a/head.mp4",
        20,
        100,
    )
    pieces = [(s.url, s.start, s.length) for _, s in found.segments]
    assert pieces == [
        ("https://host:8/a/all.mp4", 500, 1000),
        ("https://host:8/a/all.mp4", 1500, 800),
        ("https://host:8/other/tail.m4s?x=1", 0, None),
    ]
    assert (found.first, found.seconds, found.ended, found.growing) == (7, 4.0, False, False)
    master = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="x"\nlow\n'
    master += "#EXT-X-STREAM-INF:AVERAGE-BANDWIDTH=9,BANDWIDTH=20\nhigh\n"
    variants = read_playlist("http://host/list.m3u8", master).variants
    assert variants == ((1, "http://host/low"), (20, "http://host/high"))
    for bad, why in (
        ('#EXT-X-KEY:METHOD=AES-128,URI="k"', "encrypted"),
        ("#EXT-X-TARGETDURATION:many", "an invalid playlist"),
        ("https://host:9/x.ts", "not on its own host"),
        ('#EXT-X-MAP:URI="file:///etc/passwd"', "not on its own host"),
        ("http://[broken", "not on its own host"),
    ):
        with pytest.raises(VideoOpenError, match=why):
            read_playlist("http://host/list.m3u8", f"#EXTM3U\n{bad}\n")
