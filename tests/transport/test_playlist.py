"""HLS playlists: parsing of valid and of arbitrary text, and reading of the segments."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hypothesis_profile import settings
from vtnstream.errors import VideoOpenError
from vtnstream.transport.hls import Following, playlist_parts, playlist_runs
from vtnstream.transport.playlist import read_playlist

URL = "http://host:8/a/list.m3u8"
TAGS = (
    "#EXT-X-MEDIA-SEQUENCE:", "#EXT-X-TARGETDURATION:", "#EXT-X-BYTERANGE:", "#EXT-X-MAP:",
    "#EXT-X-KEY:", "#EXT-X-STREAM-INF:", "#EXT-X-PLAYLIST-TYPE:", "#EXT-X-ENDLIST", "#EXT-X-GAP",
    "#EXT-X-DISCONTINUITY", "#EXTINF:", "#EXTM3U", "",
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=30),
    st.integers(-(10**20), 10**20).map(str),
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(lambda p: f"{p[0]}@{p[1]}"),
    st.text(max_size=12).map(lambda t: f'URI="{t}",BYTERANGE="{t}"'),
    st.sampled_from(["METHOD=NONE", "METHOD=AES-128", 'BANDWIDTH=1,CODECS="mp4a.40.2"', "VOD"]),
)
LINES = st.builds(lambda tag, value: tag + value, st.sampled_from(TAGS), VALUES)


@settings(max_examples=max(500, settings.default.max_examples))
@given(st.lists(LINES, max_size=12))
def test_any_text_is_parsed_or_refused_in_one_line(lines: list[str]) -> None:
    try:
        found = read_playlist(URL, "\n".join(["#EXTM3U", *lines]))
    except VideoOpenError as error:
        assert str(error).startswith(URL)
        return
    assert found.first >= 0 and found.seconds >= 0.5
    for ahead, segment in found.segments:
        for piece in (ahead, segment):
            if piece is not None:
                assert piece.url.startswith("http://host:8/")
                assert piece.start >= 0 and (piece.length is None or piece.length >= 0)
    for bits, url in found.variants:
        assert bits >= 0 and url.startswith("http://host:8/")


@settings(max_examples=max(300, settings.default.max_examples))
@given(
    st.lists(st.tuples(st.integers(1, 99), st.booleans()), min_size=1, max_size=9),
    st.integers(0, 999),
    st.booleans(),
)
def test_byte_ranges_and_numbers_are_parsed(
    parts: list[tuple[int, bool]], first: int, ended: bool
) -> None:
    lines, place = ["#EXTM3U", f"#EXT-X-MEDIA-SEQUENCE:{first}"], 0
    expected = []
    for number, (length, named) in enumerate(parts):
        given_place = f"@{place}" if named or not number else ""
        lines += ["#EXTINF:1,", f"#EXT-X-BYTERANGE:{length}{given_place}", "all.ts"]
        expected.append((place, length))
        place += length
    found = read_playlist(URL, "\n".join(lines + ["#EXT-X-ENDLIST"] * ended))
    assert found.first == first and found.ended is ended
    assert [(s.start, s.length) for _, s in found.segments if s] == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('#EXT-X-KEY:METHOD=AES-128,URI="k"', r"is encrypted \(AES-128\)"),
        ("#EXT-X-SESSION-KEY:METHOD=SAMPLE-AES", r"is encrypted \(SAMPLE-AES\)"),
        ("#EXT-X-BYTERANGE:100\nall.ts", "a byte range without an offset"),
    ],
)
def test_unsupported_playlists_give_the_reason(line: str, words: str) -> None:
    with pytest.raises(VideoOpenError, match=words):
        read_playlist(URL, f"#EXTM3U\n{line}\n")


def test_audio_variants_and_gaps_are_left_out() -> None:
    master = '#EXT-X-STREAM-INF:BANDWIDTH=9,CODECS="mp4a.40.2"\nsound\n'
    master += '#EXT-X-STREAM-INF:NAME="x,BANDWIDTH=99",BANDWIDTH=5,CODECS="avc1.4d,mp4a.40.2"\nlow'
    assert read_playlist(URL, master).variants == ((5, "http://host:8/a/low"),)
    found = read_playlist(URL, "#EXTINF:1,\na.ts\n#EXT-X-GAP\n#EXTINF:1,\nb.ts\nc.ts\n")
    assert [s and s.url[-4:] for _, s in found.segments] == ["a.ts", None, "c.ts"]


# ------------------------------------------------------------------------- from a server


class Place:
    """Files of a server: path -> bytes, or a function that is called for each request."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Callable[[], bytes | None]] = {}
        self.moved: dict[str, str] = {}
        self.ranges = True
        self.asked: list[str] = []


@contextmanager
def serving(place: Place) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            place.asked.append(self.path)
            if self.path in place.moved:
                self.send_response(302)
                self.send_header("Location", place.moved[self.path])
                self.end_headers()
                return
            found = place.files.get(self.path)
            data = found() if callable(found) else found
            if data is None:
                self.send_error(404)
                return
            start, stop, code = 0, len(data), 200
            if place.ranges and (asked := self.headers.get("Range")):
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, stop, code = int(first), int(last) + 1 if last else len(data), 206
            part = data[start:stop]
            self.send_response(code)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("ETag", f'"{len(data)}"')
            if code == 206:
                total = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
                self.send_header("Content-Range", total)
            self.end_headers()
            self.wfile.write(part)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def playlist(*names: str, first: int = 0, ended: bool = True) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    lines += [f"#EXTINF:1,\n{name}" if name[0] != "#" else name for name in names]
    return "\n".join(lines + ["#EXT-X-ENDLIST"] * ended).encode()


@pytest.mark.parametrize("ranges", [True, False])
def test_byte_ranges_are_read_with_and_without_range_requests(ranges: bool) -> None:
    place = Place()
    place.ranges = ranges
    place.files["/all.ts"] = bytes(range(100))
    ranged = "#EXT-X-BYTERANGE:"
    place.files["/l.m3u8"] = playlist(f"{ranged}30@5", "all.ts", f"{ranged}20", "all.ts")
    with serving(place) as address:
        data = b"".join(d for _, d in playlist_runs(f"{address}/l.m3u8"))
    assert data == bytes(range(5, 55))


def test_names_are_relative_to_the_redirected_address() -> None:
    place = Place()
    place.moved = {"/go/m.m3u8": "/deep/m.m3u8", "/deep/low": "/deep/er/l.m3u8"}
    place.files["/deep/m.m3u8"] = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow\n"
    place.files["/deep/er/l.m3u8"] = playlist("a.ts")
    place.files["/deep/er/a.ts"] = b"here"
    with serving(place) as address:
        assert b"".join(d for _, d in playlist_runs(f"{address}/go/m.m3u8")) == b"here"


def test_a_new_initialisation_begins_a_run() -> None:
    place = Place()
    place.files |= {f"/{name}": name.encode() for name in ("ia", "ib", "a", "b", "c")}
    ia, ib = '#EXT-X-MAP:URI="ia"', '#EXT-X-MAP:URI="ib"'
    place.files["/l.m3u8"] = playlist(ia, "a", ia, "b", ib, "c")
    cut: list[str] = []
    with serving(place) as address:
        runs = list(playlist_runs(f"{address}/l.m3u8"))
        following = Following(lambda _: False, 1, cut.append, cut.append)
        followed = list(playlist_parts(f"{address}/l.m3u8", following))
    assert [r for r in runs if r[1]] == [
        (0, b"ia"), (0, b"a"), (0, b"b"), (1, b"ib"), (1, b"c"),
    ]  # fmt: skip
    assert [data for data in followed if data != b""] == [b"ia", b"a", b"b", None, b"ib", b"c"]
    assert cut == []


def test_a_discontinuity_begins_a_run() -> None:
    new, gap = "#EXT-X-DISCONTINUITY", "#EXT-X-GAP"
    place = segments("a", "b", "c", "d")
    place.files["/l.m3u8"] = playlist(new, "a", "b", new, "c", new, gap, "x", "d")
    with serving(place) as address:
        runs = list(playlist_runs(f"{address}/l.m3u8"))
    assert [r for r in runs if r[1]] == [(0, b"a"), (0, b"b"), (1, b"c"), (2, b"d")]
    place.files |= {"/i": b"i", "/m.m3u8": playlist('#EXT-X-MAP:URI="i"', "a", new, "b")}
    with serving(place) as address:
        runs = list(playlist_runs(f"{address}/m.m3u8"))
    assert [r for r in runs if r[1]] == [(0, b"i"), (0, b"a"), (1, b"i"), (1, b"b")]


def test_a_signed_address_of_the_same_initialisation_begins_no_run() -> None:
    place = Place()
    place.files |= {f"/{name}": name.encode() for name in ("a", "b")}
    place.files |= {f"/ia?Signature={number}": b"ia" for number in range(2)}
    signed = [f'#EXT-X-MAP:URI="ia?Signature={number}"' for number in range(2)]
    place.files["/l.m3u8"] = playlist(signed[0], "a", signed[1], "b")
    with serving(place) as address:
        runs = list(playlist_runs(f"{address}/l.m3u8"))
    assert [r for r in runs if r[1]] == [(0, b"ia"), (0, b"a"), (0, b"b")]


def test_a_lost_initialisation_of_a_live_playlist_is_a_lost_segment() -> None:
    place = Place()
    place.files |= {f"/{name}": name.encode() for name in ("ia", "a", "b", "c")}
    ia, ib = '#EXT-X-MAP:URI="ia"', '#EXT-X-MAP:URI="gone"'
    found, said = follow(place, playlist(ia, "a", ib, "b", ia, "c"))
    assert found == b"iaac" and said == ["/l.m3u8: 1 segment was missed", "segments missed: 1"]


def follow(place: Place, *states: bytes | None, idle: float = 0.3) -> tuple[bytes, list[str]]:
    """Follow a live playlist that takes these states in turn; return its bytes and messages."""
    said: list[str] = []
    left = list(states)
    place.files["/l.m3u8"] = lambda: left.pop(0) if len(left) > 1 else left[0]

    def wait(_: float) -> bool:
        threading.Event().wait(0.02)
        return False

    with serving(place) as address:
        following = Following(wait, idle, said.append, said.append)
        data = b"".join(d or b"" for d in playlist_parts(f"{address}/l.m3u8", following))
        return data, [line.replace(address, "") for line in said]


def segments(*names: str) -> Place:
    place = Place()
    place.files = {f"/{name}": name.encode() for name in names}
    return place


def test_a_live_playlist_is_read_to_its_end() -> None:
    found, said = follow(
        segments("a", "b", "c"), playlist("a", "b", ended=False), playlist("b", "c", first=1)
    )
    assert (found, said) == (b"abc", [])


def test_a_playlist_that_restarts_its_numbers_is_followed() -> None:
    found, said = follow(
        segments("a", "b", "c", "d"),
        playlist("a", "b", first=500, ended=False),
        playlist("c", first=0, ended=False),
        playlist("c", "d", first=0),
    )
    assert found == b"abcd" and said == ["/l.m3u8: its sequence numbers restart at 0"]
    found, said = follow(
        segments("a", "b", "c", "d", "e"),
        playlist("a", "b", first=0, ended=False),
        playlist("c", "d", "e", first=0),
    )
    assert found == b"abcde" and said == ["/l.m3u8: its sequence numbers restart at 0"]


def test_a_stale_copy_and_a_failed_reload_are_ignored() -> None:
    found, said = follow(
        segments("a", "b", "c"),
        playlist("a", "b", ended=False),
        playlist("a", ended=False),
        None,
        playlist("b", "c", first=1),
    )
    assert found == b"abc" and len(said) == 1 and said[0].endswith("trying again")


def test_a_stream_without_an_end_marker_is_cut_short() -> None:
    found, said = follow(segments("a"), playlist("a", ended=False))
    assert found == b"a" and said == [
        "nothing came for 0.3 s, and the playlist does not say that it has ended"
    ]


def test_expired_segments_are_reported_as_missed() -> None:
    found, said = follow(
        segments("a", "c", "f"), playlist("a", "b", "c", ended=False), playlist("f", first=5)
    )
    assert found == b"acf"
    assert said == [
        "/l.m3u8: 1 segment was missed",
        "segments missed: 1",
        "/l.m3u8: 2 segments were missed",
        "segments missed: 3",
    ]


def test_a_variant_that_disappears_is_replaced() -> None:
    place = segments("a", "b")
    master = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\nhigh\n#EXT-X-STREAM-INF:BANDWIDTH=5\nlow\n"
    states: list[bytes | None] = [playlist("a", ended=False), None]
    place.files["/high"] = lambda: states.pop(0) if len(states) > 1 else states[0]
    place.files["/low"] = playlist("a", "b")
    found, said = follow(place, master)
    assert found == b"ab" and said == ["/high: is gone: /low is read in its place"]


def test_a_finished_playlist_without_a_segment_fails() -> None:
    place = segments("a")
    place.files["/l.m3u8"] = playlist("a", "b")
    with serving(place) as address, pytest.raises(VideoOpenError, match="404"):
        list(playlist_runs(f"{address}/l.m3u8"))


def ts_packets(pid: int, *counters: int) -> bytes:
    """Return transport stream packets with payload and these counters."""
    return b"".join(
        bytes((0x47, pid >> 8, pid & 255, 0x10 | counter)) + bytes(184) for counter in counters
    )


def test_counters_continue_over_segments_and_keep_losses_inside() -> None:
    place = Place()
    place.files["/a"] = ts_packets(256, 3, 4, 5) + ts_packets(17, 0)
    place.files["/b"] = ts_packets(17, 0) + ts_packets(256, 0, 1, 3, 4)
    place.files["/l.m3u8"] = playlist("a", "b")
    with serving(place) as address:
        data = b"".join(d for _, d in playlist_runs(f"{address}/l.m3u8"))
    found = [(data[i + 2] | data[i + 1] << 8, data[i + 3] & 15) for i in range(0, len(data), 188)]
    assert [c for pid, c in found if pid == 256] == [3, 4, 5, 6, 7, 9, 10]
    assert [c for pid, c in found if pid == 17] == [0, 1]
