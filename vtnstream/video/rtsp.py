"""Open live streams as streams of bytes; RTSP is remuxed to Matroska for that."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import av
import av.error

from vtnstream.errors import VideoOpenError
from vtnstream.transport.address import check_address, scheme_of, shown
from vtnstream.transport.feed import Feed
from vtnstream.transport.live_stream import open_feed
from vtnstream.video.container import DECODERS, reason_of

_RTSP = ("rtsp", "rtsps")
_OPEN_SECONDS = 20
_READ_SECONDS = 5


def open_stream(path: str, *, idle_seconds: float, warn: Callable[[str], None]) -> Feed:
    """Open a live stream as :func:`vtnstream.transport.live_stream.open_feed` does, or ``rtsp://``.

    Raises:
        UsageError: the address is not supported for live streams.
    """
    if scheme_of(path) not in _RTSP:
        return open_feed(path, idle_seconds=idle_seconds, warn=warn)
    check_address(path)
    stop = Event()
    return Feed(shown(path), _unpacked(path, stop, idle_seconds), stop.set)


class _Outgoing(io.RawIOBase):
    """The output of the muxer, which never seeks."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)

    def take(self) -> bytes:
        data, self.data = bytes(self.data), bytearray()
        return data


def _unpacked(address: str, stop: Event, idle_seconds: float) -> Iterator[bytes]:
    """Yield the video packets of an RTSP stream as Matroska, without decoding. libav may use only
    the protocols of RTSP, to that host."""
    options = {
        "rtsp_transport": "tcp",
        "protocol_whitelist": "rtsp,rtp,tcp,udp,tls,srtp",
        "allowed_media_types": "video",
    }
    try:
        source = av.open(
            address,
            "r",
            format="rtsp",
            options=options,
            timeout=(_OPEN_SECONDS, min(_READ_SECONDS, idle_seconds)),
            metadata_errors="replace",
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoOpenError(
            f"{shown(address)}: cannot be reached ({reason_of(error)}): check the address"
        ) from None
    with source:
        stream = next(iter(source.streams.video), None)
        if stream is None or stream.codec_context.name not in DECODERS:
            raise VideoOpenError(f"{shown(address)}: has no video that vtnstream can decode")
        outgoing = _Outgoing()
        with av.open(outgoing, "w", format="matroska", options={"live": "1"}) as target:
            copy = target.add_stream_from_template(stream)
            for packet in _packets(source, stream, stop, idle_seconds):
                packet.stream = copy
                target.mux(packet)
                if outgoing.data:
                    yield outgoing.take()
        if outgoing.data:
            yield outgoing.take()


def _packets(source: Any, stream: Any, stop: Event, idle_seconds: float) -> Iterator[Any]:
    quiet_since, last = time.monotonic(), -1
    while not stop.is_set():
        try:
            for packet in source.demux(stream):
                if stop.is_set():
                    return
                if packet.dts is None and last < 0 and packet.size:
                    # libav counts times from the first frame, and gives that frame no time.
                    packet.pts = packet.dts = 0
                if packet.dts is None or packet.dts <= last:
                    continue
                last = packet.dts
                quiet_since = time.monotonic()
                yield packet
            return
        except (av.error.FFmpegError, OSError):
            if time.monotonic() - quiet_since > idle_seconds:
                return
            if stop.wait(0.2):
                return
