"""A camera that serves the H.264 frames of a video over RTSP, interleaved on one connection."""

from __future__ import annotations

import base64
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

_BEGINS = 1_234_567
"""First RTP timestamp; cameras start at any value, and libav treats 0 as no time."""
_MOST = 1200
"""Maximum bytes of a packet; longer NAL units are sent in fragments (RFC 6184, FU-A)."""


def units_of(data: bytes) -> list[bytes]:
    """Return the NAL units of a piece of an Annex B stream."""
    parts = data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


class _Camera:
    def __init__(self, video: Path) -> None:
        self.frames: list[tuple[int, list[bytes]]] = []
        with av.open(str(video)) as source:
            stream = source.streams.video[0]
            for packet in source.demux(stream):
                if packet.size and packet.pts is not None and stream.time_base is not None:
                    ticks = _BEGINS + int(packet.pts * stream.time_base * 90_000)
                    self.frames.append((ticks, units_of(bytes(packet))))
        heads = {unit[0] & 31: unit for _, units in self.frames for unit in units}
        self.sets = heads[7], heads[8]
        self.sequence = 0

    def description(self) -> str:
        """Return the session description (SDP)."""
        sets = ",".join(base64.b64encode(part).decode() for part in self.sets)
        return (
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1;"
            f"sprop-parameter-sets={sets}\r\na=control:track0\r\n"
        )

    def answer(self, connection: socket.socket) -> None:
        """Serve one client from its first request to the end of the video."""
        waiting = connection.makefile("rb")
        while request := waiting.readline().decode():
            fields = {}
            while (line := waiting.readline().decode().strip()) != "":
                name, _, value = line.partition(":")
                fields[name.lower()] = value.strip()
            method, body, more = request.split()[0], "", ""
            if method == "DESCRIBE":
                body = self.description()
                more = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            elif method == "OPTIONS":
                more = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            head = f"RTSP/1.0 200 OK\r\nCSeq: {fields['cseq']}\r\n{more}\r\n"
            connection.sendall((head + body).encode())
            if method == "PLAY":
                for ticks, units in self.frames:
                    for unit in units:
                        self._send(connection, ticks, unit, last=unit is units[-1])
                    time.sleep(0.002)
                return

    def _send(self, connection: socket.socket, ticks: int, unit: bytes, *, last: bool) -> None:
        if len(unit) <= _MOST:
            self._packet(connection, ticks, unit, marker=last)
            return
        head, rest = unit[0], unit[1:]
        pieces = [rest[i : i + _MOST] for i in range(0, len(rest), _MOST)]
        for number, piece in enumerate(pieces):
            final = number == len(pieces) - 1
            flags = (0x80 if number == 0 else 0) | (0x40 if final else 0)
            lead = bytes([head & 0xE0 | 28, flags | head & 31])
            self._packet(connection, ticks, lead + piece, marker=last and final)

    def _packet(
        self, connection: socket.socket, ticks: int, payload: bytes, *, marker: bool
    ) -> None:
        self.sequence = (self.sequence + 1) & 0xFFFF
        kind = 96 | (0x80 if marker else 0)
        packet = struct.pack(">BBHII", 0x80, kind, self.sequence, ticks & 0xFFFFFFFF, 7) + payload
        connection.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)


@contextmanager
def camera(video: Path) -> Iterator[str]:
    """Yield the address of a camera that serves ``video`` (H.264 in MPEG-TS) to each client."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                try:
                    _Camera(video).answer(connection)
                except OSError:
                    continue

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"rtsp://127.0.0.1:{server.getsockname()[1]}/camera"
    finally:
        server.close()
