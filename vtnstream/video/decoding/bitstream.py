"""Determine from the first bytes of a packet whether other frames are predicted from its frame, and
whether decoding can begin with it.

Flags of the container are not reliable: an MP4 without a table of sync samples marks every
packet as a keyframe.

Sources: ITU-T H.264 7.3.1 and 7.4.1 (NAL units), H.265 7.3.1.2 and 7.4.2.2, H.262 6.2.3 (picture
header), ISO/IEC 14496-2 6.2.5 (VOP), RFC 6386 9.1 (VP8), VP9 bitstream 6.2 and annex B; for AV1 see
:mod:`vtnstream.video.decoding.av1`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vtnstream.video.decoding.av1 import TemporalUnits


@dataclass(frozen=True, slots=True)
class PacketKind:
    """Properties of a packet that decide whether it may be skipped.

    Attributes:
        disposable: no other frame is predicted from it, and libav skips it with
            ``skip_frame="NONREF"``.
        removable: no other frame is predicted from it, and nothing else in the packet matters to
            later ones, so that the decoder need not get it.
        restart: it is a keyframe, and neither it nor the frames displayed after it depend on
            earlier packets.
        shown: decoding it yields one frame.
        headers: bit set of the kinds of parameter sets in it, which also apply to later packets.
    """

    disposable: bool = False
    restart: bool = False
    shown: bool = True
    headers: int = 0
    removable: bool = False


Classify = Callable[[Any], PacketKind | None]
"""``av.Packet`` -> its kind, or None if it cannot be determined."""

_PLAIN = PacketKind()
_RESTART = PacketKind(restart=True)
_REMOVABLE = PacketKind(removable=True)


def classifier(context: Any) -> Classify | None:
    """Return the classifier for an ``av.CodecContext``, or None for codecs whose packets must all
    be decoded."""
    make = _CLASSIFIERS.get(context.codec.canonical_name)
    if make is not None:
        return make(bytes(context.extradata or b""))
    return (lambda _packet: _RESTART) if context.codec.intra_only else None


# ---------------------------------------------------------------- H.264 and HEVC: NAL units


_ENDINGS = (b"", b"\1\x0a", b"\1\x0b")
"""Valid data after a run of zeros: none, or the start code of H.264's end of sequence or stream,
which some muxers leave inside a unit."""


def _units(data: bytes, prefix: int) -> list[tuple[int, int]]:
    """Return (start, stop) of the NAL units of a packet; empty if the packet is damaged.

    Args:
        data: the packet.
        prefix: size in bytes of the length before each unit; 0 for start codes (Annex B).
    """
    spans = _units_by_length(data, prefix) if prefix else _units_by_start_code(data)
    for start, stop in spans:
        # Emulation prevention keeps 000000 out of units, so such a run means lost data.
        hole = data.find(b"\0\0\0", start, stop)
        if data[start] & 0x80 or (hole >= 0 and data[hole:stop].strip(b"\0") not in _ENDINGS):
            return []
    return spans


def _units_by_length(data: bytes, prefix: int) -> list[tuple[int, int]]:
    spans, place = [], 0
    while place < len(data):
        start = place + prefix
        place = start + int.from_bytes(data[place:start], "big")
        if not start + 1 < place <= len(data):
            return []
        spans.append((start, place))
    return spans


def _units_by_start_code(data: bytes) -> list[tuple[int, int]]:
    spans = []
    start = data.find(b"\0\0\1") + 3
    if start < 3 or any(data[: start - 3]):
        return []
    while start < len(data):
        following = data.find(b"\0\0\1", start)
        stop = len(data) if following < 0 else following
        if stop - start < 2:
            return []
        spans.append((start, stop))
        start = stop + 3
    return spans


_SLICE, _IDR, _SEI, _SPS, _PPS, _DELIMITER, _FILLER = 1, 5, 6, 7, 8, 9, 12


def _h264(extradata: bytes) -> Classify:
    prefix = (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0

    def classify(packet: Any) -> PacketKind | None:
        data = bytes(packet)
        headers, disposable, slices = 0, True, set()
        for start, _ in _units(data, prefix):
            kind = data[start] & 0x1F
            if kind in (_SLICE, _IDR):
                slices.add(kind)
                disposable &= not data[start] & 0x60  # nal_ref_idc
            elif kind in (_SPS, _PPS):
                headers |= 1 << kind
            elif kind not in (_SEI, _DELIMITER, _FILLER):
                return None
        # After a keyframe that is no IDR, frame numbers continue from earlier frames.
        if len(slices) != 1:
            return None
        return PacketKind(disposable, _IDR in slices, True, headers, disposable and not headers)

    return classify


_IRAP_FIRST, _IRAP_LAST = 16, 21
_VCL_LAST = 31
_VPS, _HEVC_SPS, _HEVC_PPS = 32, 33, 34
_HEVC_HARMLESS = (35, 38, 39, 40, 62)
"""Access unit delimiter, filler data, SEI before and after the frame, Dolby Vision metadata."""


def _hevc(extradata: bytes) -> Classify:
    stored = len(extradata) > 22 and extradata[0] == 1
    prefix = (extradata[21] & 3) + 1 if stored else 0
    # The type of a frame only says that its own temporal layer does not refer to it. Higher layers
    # may, so only frames of the highest layer can be skipped.
    sets = _stored_units(extradata) if stored else _unit_bytes(extradata)
    highest = max((unit[2] >> 1 & 7 for unit in sets if unit[0] >> 1 == _HEVC_SPS), default=0)

    def classify(packet: Any) -> PacketKind | None:
        nonlocal highest
        data = bytes(packet)
        headers, disposable, kinds = 0, True, set()
        for start, _ in _units(data, prefix):
            kind, layer = data[start] >> 1 & 0x3F, data[start + 1] & 7
            if data[start] & 1 or data[start + 1] >> 3:
                return None  # another layer: scalable or multi-view video
            if kind <= _VCL_LAST:
                kinds.add(kind)
                highest = max(highest, layer - 1)
                # Types 0, 2 ... 14 are the sub-layer non-reference pictures.
                disposable &= kind < _IRAP_FIRST and not kind & 1 and layer - 1 == highest
            elif kind in (_VPS, _HEVC_SPS, _HEVC_PPS):
                headers |= 1 << kind
                if kind == _HEVC_SPS:
                    highest = max(highest, data[start + 2] >> 1 & 7)
            elif kind not in _HEVC_HARMLESS:
                return None
        if len(kinds) != 1:
            return None
        restart = _IRAP_FIRST <= kinds.pop() <= _IRAP_LAST
        return PacketKind(disposable, restart, True, headers, disposable and not headers)

    return classify


def _unit_bytes(data: bytes) -> list[bytes]:
    return [data[start:stop] for start, stop in _units(data, 0)]


def _stored_units(record: bytes) -> list[bytes]:
    """Return the NAL units of an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 8.3.3.1)."""
    units, place = [], 23
    for _ in range(record[22]):
        count = int.from_bytes(record[place + 1 : place + 3], "big")
        place += 3
        for _ in range(count):
            size = int.from_bytes(record[place : place + 2], "big")
            units.append(record[place + 2 : place + 2 + size])
            place += 2 + size
    return [unit for unit in units if len(unit) > 2]


# ------------------------------------------------------------------------------ MPEG-1 to 4


def _mpeg2(_extradata: bytes) -> Classify:
    picture, sequence, intra, bidirectional = b"\0\0\1\0", b"\0\0\1\xb3", 1, 3

    def classify(packet: Any) -> PacketKind | None:
        data = bytes(packet)
        kinds, first = [], data.find(picture)
        place = first
        while 0 <= place < len(data) - 5:
            kinds.append(data[place + 5] >> 3 & 7)
            place = data.find(picture, place + 5)
        if not 1 <= len(kinds) <= 2:  # one frame, or the two fields of one
            return None
        disposable = all(kind == bidirectional for kind in kinds)
        headers = int(data.find(sequence, 0, first) >= 0)
        return PacketKind(disposable, kinds[0] == intra, True, headers)

    return classify


_SMALLEST_VOP = 10
"""Bytes; smaller VOPs of MPEG-4 stand for frames that are not coded."""


def _mpeg4(_extradata: bytes) -> Classify:
    plane, layer, intra, bidirectional = b"\0\0\1\xb6", b"\0\0\1\x20", 0, 2

    def classify(packet: Any) -> PacketKind | None:
        data = bytes(packet)
        first = data.find(plane)
        if first < 0 or len(data) - first < _SMALLEST_VOP or data.find(plane, first + 4) >= 0:
            return None  # packed B-frames, or no coded frame
        kind = data[first + 4] >> 6
        headers = int(data.find(layer, 0, first) >= 0)
        return PacketKind(kind == bidirectional, kind == intra, True, headers)

    return classify


# ------------------------------------------------------------------------------ VP8, VP9, AV1


def _vp8(_extradata: bytes) -> Classify:
    def classify(packet: Any) -> PacketKind | None:
        first = memoryview(packet)[0]
        return PacketKind(restart=not first & 1, shown=bool(first >> 4 & 1))

    return classify


def _vp9(_extradata: bytes) -> Classify:
    def classify(packet: Any) -> PacketKind | None:
        data = memoryview(packet)
        # From the top: marker 10, profile (2 bits, low one first, and one more in profile 3),
        # show_existing_frame, frame_type (0 is a keyframe), show_frame.
        bits = f"{data[0]:08b}{data[min(1, len(data) - 1)]:08b}"
        if bits[:2] != "10":
            return None
        place = 5 if bits[2:4] == "11" else 4
        again, inter, shown = (bit == "1" for bit in bits[place : place + 3])
        superframe = data[len(data) - 1] >> 5 == 0b110  # hidden frames and one displayed frame
        return PacketKind(restart=not again and not inter, shown=again or shown or superframe)

    return classify


def _av1(extradata: bytes) -> Classify:
    # A temporal unit shows exactly one frame, in order. Containers mark the units that begin with
    # a sequence header and a keyframe; the decoded frames are checked against this.
    units = TemporalUnits(extradata)

    def classify(packet: Any) -> PacketKind:
        removable = units.is_unreferenced(bytes(packet))
        if packet.is_keyframe:
            return _RESTART
        return _REMOVABLE if removable else _PLAIN

    return classify


_CLASSIFIERS: dict[str, Callable[[bytes], Classify]] = {
    "h264": _h264,
    "hevc": _hevc,
    "mpeg1video": _mpeg2,
    "mpeg2video": _mpeg2,
    "mpeg4": _mpeg4,
    "vp8": _vp8,
    "vp9": _vp9,
    "av1": _av1,
}
