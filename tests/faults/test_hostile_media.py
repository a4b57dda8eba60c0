"""Videos that want something else than to be looked at: each is refused in one line, and
nothing is read, called, started or written outside the output folder."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import Some
from tests.faults.tally import Cases
from tests.faults.warm import Ended
from tests.faults.witness import Witness, witness
from tests.faults.work import Work
from tests.synth import SyntheticVideo

Attack = Callable[[Path, Witness], object]


def hls(target: Callable[[Witness], str]) -> Attack:
    """A playlist with one segment."""

    def write(path: Path, seen: Witness) -> None:
        path.write_text(
            f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target(seen)}\n#EXT-X-ENDLIST\n"
        )

    return write


def text(content: str) -> Attack:
    """``{canary}``, ``{name}``, ``{tcp}`` and ``{udp}`` are filled in."""

    def write(path: Path, seen: Witness) -> None:
        names = {"canary": seen.canary, "name": seen.canary.name, "tcp": seen.tcp, "udp": seen.udp}
        path.write_text(content.format(**names))

    return write


SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=x
c=IN IP4 127.0.0.1
t=0 0
a=control:rtsp://127.0.0.1:{tcp}/x
m=video {udp} RTP/AVP 96
a=rtpmap:96 H264/90000
"""
DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT9S">
<BaseURL>{place}</BaseURL><Period><AdaptationSet mimeType="video/mp4">
<Representation id="1" bandwidth="1" codecs="avc1"><SegmentTemplate initialization="i.mp4"
media="s$Number$.m4s" duration="9"/></Representation></AdaptationSet></Period></MPD>
"""
XXE = """<?xml version="1.0"?><!DOCTYPE MPD [<!ENTITY x SYSTEM "file://{canary}">]>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>&x;</BaseURL></MPD>
"""

FILES: dict[str, Attack] = {
    "list of a local video": hls(lambda seen: str(seen.canary)),
    "list of a video beside it": hls(lambda seen: seen.canary.name),
    "list of file:": hls(lambda seen: f"file://{seen.canary}"),
    "list of concat:": hls(lambda seen: f"concat:{seen.canary}|{seen.canary}"),
    "list of crypto:": hls(lambda seen: f"crypto:{seen.canary}"),
    "list of subfile:": hls(lambda seen: f"subfile,,start,0,end,0,,:{seen.canary}"),
    "list of http": hls(lambda seen: f"http://127.0.0.1:{seen.tcp}/canary.ts"),
    "list of tcp": hls(lambda seen: f"tcp://127.0.0.1:{seen.tcp}"),
    "list of udp": hls(lambda seen: f"udp://127.0.0.1:{seen.udp}"),
    "list of rtmp": hls(lambda seen: f"rtmp://127.0.0.1:{seen.tcp}/x/y"),
    "list with a key": text(
        '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="http://127.0.0.1:{tcp}/k"\n'
        "#EXTINF:9,\n{canary}\n#EXT-X-ENDLIST\n"
    ),
    "list of lists": text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{canary}\n"),
    "list behind a byte order mark": text("\ufeff#EXTM3U\n#EXTINF:9,\n{canary}\n"),
    "list behind an ID3 tag": text(
        "ID3\x04\x00\x00\x00\x00\x00\x00#EXTM3U\n#EXTINF:9,\n{canary}\n"
    ),
    "concat": text("ffconcat version 1.0\nfile {name}\n"),
    "concat of an absolute path": text("ffconcat version 1.0\nfile '{canary}'\n"),
    "concat of http": text("ffconcat version 1.0\nfile http://127.0.0.1:{tcp}/x.mp4\n"),
    "concat with an option": text(
        "ffconcat version 1.0\nfile {name}\noption protocol_whitelist file,http\n"
    ),
    "SDP": text(SDP),
    "SDP over TCP": text(SDP.replace("RTP/AVP", "TCP/RTP/AVP")),
    "DASH of http": text(DASH.replace("{place}", "http://127.0.0.1:{tcp}/")),
    "DASH of a file": text(DASH.replace("{place}", "file://{canary}")),
    "XML entity": text(XXE),
    "RTSP answer": text("RTSP/1.0 200 OK\r\nContent-Base: rtsp://127.0.0.1:{tcp}/x\r\n\r\n"),
    "ASX": text('<asx version="3.0"><entry><ref href="http://127.0.0.1:{tcp}/x"/></entry></asx>'),
    "redirector": text("[Reference]\r\nRef1=http://127.0.0.1:{tcp}/x.asf?MSWMExt=.asf\r\n"),
    "QuickTime link": text("RTSPtext\r\nrtsp://127.0.0.1:{tcp}/x\r\n"),
    "ffmetadata": text(";FFMETADATA1\ntitle=x\n"),
    "image script": text("push graphic-context\nimage over 0,0 0,0 '{canary}'\n"),
    "SVG": text('<svg xmlns="http://www.w3.org/2000/svg"><image href="{canary}"/></svg>'),
    "AviSynth": text('DirectShowSource("{canary}")\n'),
    "a video's own list": lambda path, seen: path.write_bytes(
        b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2"
        + f"\n#EXTM3U\n#EXTINF:9,\n{seen.canary}\n".encode()
    ),
    "external data": lambda path, seen: external_data(path, seen),
    "fifo": lambda path, seen: os.mkfifo(path),
    "link to itself": lambda path, seen: path.symlink_to(path),
    "link to a device": lambda path, seen: path.symlink_to("/dev/zero"),
    "link to standard input": lambda path, seen: path.symlink_to("/dev/stdin"),
    "socket": lambda path, seen: a_socket(path),
    "directory": lambda path, seen: path.mkdir(),
    "empty": lambda path, seen: path.touch(),
    "sparse": lambda path, seen: (path.touch(), os.truncate(path, 2**40)),
}


def external_data(path: Path, seen: Witness) -> None:
    """A QuickTime video whose pictures lie in another file, as its data reference says."""
    SyntheticVideo(count=5).write(path.with_suffix(".mov"))
    data = path.with_suffix(".mov").read_bytes()
    path.with_suffix(".mov").unlink()
    own = struct.pack(">I4sI", 12, b"url ", 1)
    assert own in data
    link = f"file://{seen.canary}\0".encode()
    grown = struct.pack(">I4sI", 12 + len(link), b"url ", 0) + link
    at = data.index(own)
    patched = bytearray(data.replace(own, grown, 1))
    parents = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")
    for name in parents:  # each box around it grows
        start = data.rindex(name, 0, at) - 4
        size = struct.unpack_from(">I", patched, start)[0]
        struct.pack_into(">I", patched, start, size + len(link))
    path.write_bytes(patched)


def a_socket(path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listening, _in(path.parent):
        listening.bind(path.name)  # a socket's path may be 107 bytes long


class _in:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        self._before = os.getcwd()
        os.chdir(self._folder)

    def __exit__(self, *error: object) -> None:
        os.chdir(self._before)


NAMES = (  # an http address on the command line may be called: it is what was asked for
    "tcp://127.0.0.1:{tcp}",
    "rtsp://127.0.0.1:{tcp}/x",
    "rtmp://127.0.0.1:{tcp}/x/y",
    "udp://127.0.0.1:{udp}",
    "file:{canary}",
    "file://{canary}",
    "concat:{canary}|{canary}",
    "subfile,,start,0,end,0,,:{canary}",
    "crypto:{canary}",
    "async:{canary}",
    "cache:{canary}",
    "data:video/mp4;base64,AAAA",
    "pipe:0",
    "fd:0",
    "lavfi:testsrc",
    "testsrc=size=64x64",
    "/dev/zero",
    "/dev/stdin",
    "/dev/tty",
    "/proc/self/mem",
    "/proc/self/environ",
    "~root/../..{canary}/x",
    "{canary}\0.mp4",
)


def assert_refused(ended: Ended, name: str, *, codes: tuple[int, ...] = (1, 2)) -> None:
    assert ended.code in codes, ended
    assert ended.out == "" and len(ended.errors) == 1, ended
    assert ended.err.count("\n") == 1, ended
    assert "internal error" not in ended.err and "Traceback" not in ended.err, ended
    assert name in ended.errors[0], ended


@pytest.fixture
def scene(tmp_path: Path, work: Work) -> Path:
    """A folder with a canary beside the attack."""
    folder = tmp_path / "scene"
    folder.mkdir()
    shutil.copy(work.video, folder / "canary.mp4")
    return folder


def attacked(work: Work, folder: Path, seen: Witness, name: str | Path) -> Ended:
    out, cache = folder / "out", folder / "cache"
    command = ["timeline", "-m", work.model, "-o", out, "--cache-dir", cache, "--", name]
    command[1:1] = ["--progress", "none"]
    return work.warm.run(*command, program=f"{seen.program}\nimport os; os.chdir({str(folder)!r})")


def test_files_that_reach_for_others(work: Work, cases: Cases, some: Some, scene: Path) -> None:
    for name, attack in some(FILES.items(), 10):
        with cases("hostile file", name), witness(scene, scene / "canary.mp4") as seen:
            path = scene / f"{name}{SUFFIXES.get(name, '.mp4')}"
            attack(path, seen)
            seen.begin()
            ended = attacked(work, scene, seen, path)
            seen.assert_nothing_happened(scene / "out", scene / "cache")
            if name in READABLE:
                assert ended.code == 0, ended
            else:
                assert_refused(ended, str(path))


READABLE = {"external data"}
"""The video itself lies in the file, and that is all that is read."""

SUFFIXES = {
    "list of a video beside it": ".m3u8",
    "concat of an absolute path": ".ffconcat",
    "SDP over TCP": ".sdp",
    "DASH of a file": ".mpd",
}
"""Of those that do not call themselves videos."""


def test_names_that_are_addresses(work: Work, cases: Cases, some: Some, scene: Path) -> None:
    for name in some(NAMES, 5):
        with cases("hostile name", name), witness(scene, scene / "canary.mp4") as seen:
            given = name.format(tcp=seen.tcp, udp=seen.udp, canary=seen.canary)
            seen.begin()
            ended = attacked(work, scene, seen, given)
            seen.assert_nothing_happened(scene / "out", scene / "cache")
            assert_refused(ended, given.partition("\0")[0])


# ----------------------------------------------------------------------------- bombs


LIMITS = """
import resource
_used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (_used + (700 << 20), _used + (700 << 20)))
resource.setrlimit(resource.RLIMIT_CPU, (15, 15))
"""
"""Memory and time that are enough for any refusal."""


def gif(side: int) -> bytes:
    size = side.to_bytes(2, "little") * 2
    frame = b"\x2c" + bytes(4) + size + b"\x00\x02\x02\x4c\x01\x00"
    return b"GIF89a" + size + b"\x80\x00\x00" + bytes(6) + frame * 3 + b"\x3b"


def apng(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    control = struct.pack(">IIIIIHHBB", 0, side, side, 0, 0, 1, 25, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"acTL", struct.pack(">II", 1, 0))
        + chunk(b"fcTL", control)
        + chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
        + chunk(b"IEND", b"")
    )


def patched(video: bytes, box: bytes, offset: int, value: int, size: int) -> bytes:
    """The video with a number of ``size`` bytes at ``offset`` behind the name of a box."""
    data = bytearray(video)
    at = video.index(box) + 4 + offset
    data[at : at + size] = value.to_bytes(size, "big")
    return bytes(data)


BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "huge GIF": lambda video: gif(60_000),
    "huge APNG": lambda video: apng(40_000),
    "huge raw frames": lambda video: (
        b"YUV4MPEG2 W60000 H60000 F25:1 Ip A1:1 C420\nFRAME\n" + bytes(99)
    ),
    "a billion samples": lambda video: patched(video, b"stsz", 8, 2**32 - 1, 4),
    "a billion times": lambda video: patched(video, b"stts", 4, 2**31 - 1, 4),
    "a billion chunks": lambda video: patched(video, b"stco", 4, 2**30, 4),
    "a box of 4 GB": lambda video: patched(video, b"stbl", -8, 2**32 - 1, 4),
    "a sample of 2 GB": lambda video: patched(video, b"stsz", 12, 2**31 - 1, 4),
    "Matroska of 2^56 bytes": lambda video: b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7 + bytes(2000),
    "boxes in boxes": lambda video: b"".join(
        struct.pack(">I4s", 8 * (9999 - n), b"moov") for n in range(9000)
    ),
}


def test_bombs(work: Work, cases: Cases, some: Some, scene: Path) -> None:
    """Little memory, little time, whatever the header says; a result only where pictures
    were there."""
    video = (
        SyntheticVideo(count=30, muxer={"movflags": "faststart"})
        .write(scene / "film.mp4")
        .read_bytes()
    )
    for name, make in some(BOMBS.items(), 3):
        with cases("decompression bomb", name), witness(scene, scene / "canary.mp4") as seen:
            path = scene / "bomb.mp4"
            path.write_bytes(make(video))
            seen.begin()
            seen.program += LIMITS
            ended = attacked(work, scene, seen, path)
            seen.assert_nothing_happened(scene / "out", scene / "cache")
            if ended.code not in (0, 3):
                assert_refused(ended, str(path))
