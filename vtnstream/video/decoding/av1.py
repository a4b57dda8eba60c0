"""Find the frames of an AV1 stream that no other frame is predicted from.

Everything that AV1 predicts from (pixels, motion vectors, probabilities, segmentation, film grain)
is kept in eight slots of reference frames, and the header of a frame states the slots that it
replaces. A frame that is displayed and replaces none leaves no trace in the decoder.

Source: AV1 Bitstream & Decoding Process Specification, 5.3 (OBU), 5.5 (sequence header) and 5.9.2
(uncompressed header).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_SEQUENCE_HEADER, _FRAME_HEADER, _FRAME, _TILE_LIST = 1, 3, 6, 8
_KEY_FRAME, _INTER_FRAME, _SWITCH_FRAME = 0, 1, 3
_STATED = 2
"""Value of seq_force_screen_content_tools and seq_force_integer_mv: each frame states its own."""

_HEADER_BYTES = 64
"""More bytes than the header of a sequence, and the parts of a frame's header that are read."""

_CONFIGURATION = b"\x81"
"""First byte of an AV1CodecConfigurationRecord, whose OBUs begin at byte 4."""


class TemporalUnits:
    """Classifies the packets of one stream, in decoding order.

    Args:
        extradata: of the container, with a sequence header or empty.
    """

    def __init__(self, extradata: bytes) -> None:
        self._sequence: _Sequence | None = None
        self.is_unreferenced(extradata[4:] if extradata[:1] == _CONFIGURATION else extradata)

    def is_unreferenced(self, packet: bytes) -> bool:
        """Return whether a packet holds one displayed frame that no other frame depends on, and
        nothing else that later packets need."""
        num_frames, unreferenced = 0, True
        try:
            for kind, payload in _units(packet):
                if kind == _SEQUENCE_HEADER:
                    self._sequence = _Sequence.parse(_Bits(payload))
                    unreferenced = False
                elif kind in (_FRAME_HEADER, _FRAME):
                    num_frames += 1
                    unreferenced &= self._is_only_displayed(_Bits(payload))
        except ValueError:
            return False
        return unreferenced and num_frames == 1

    def _is_only_displayed(self, bits: _Bits) -> bool:
        """Return whether a frame is displayed and replaces no reference."""
        sequence = self._sequence
        if sequence is None or bits.flag():  # show_existing_frame
            return False
        kind, shown = bits.read(2), bits.flag()
        if not shown or kind in (_KEY_FRAME, _SWITCH_FRAME):
            return False
        resilient = bits.flag()
        bits.read(1)  # disable_cdf_update
        tools = (
            bits.flag()
            if sequence.screen_content_tools == _STATED
            else (sequence.screen_content_tools)
        )
        if tools and sequence.integer_mv == _STATED:
            bits.read(1)
        bits.read(sequence.frame_id_bits)
        bits.read(1)  # frame_size_override_flag
        bits.read(sequence.order_hint_bits)
        if kind == _INTER_FRAME and not resilient:
            bits.read(3)  # primary_ref_frame
        return bits.read(8) == 0  # refresh_frame_flags


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the first bytes of each OBU.

    Raises:
        ValueError: the data is damaged, or has layers.
    """
    place = 0
    while place < len(data):
        header = data[place]
        kind, has_extension, has_size = header >> 3 & 15, header & 4, header & 2
        if header & 0x80 or has_extension or kind == _TILE_LIST:
            raise ValueError("no plain OBU")
        place += 1
        size, length = _leb128(data, place) if has_size else (len(data) - place, 0)
        place += length
        if place + size > len(data):
            raise ValueError("an OBU is cut")
        yield kind, data[place : place + min(size, _HEADER_BYTES)]
        place += size


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    """Return a number of variable length (4.10.5), and its length in bytes."""
    value = 0
    for count, byte in enumerate(data[place : place + 8]):
        value |= (byte & 0x7F) << 7 * count
        if not byte & 0x80:
            return value, count + 1
    raise ValueError("a size is cut")


class _Bits:
    """Reads numbers from the most significant bit on."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """Return the next ``count`` bits as a number.

        Raises:
            ValueError: fewer bits are left.
        """
        self._left -= count
        if self._left < 0:
            raise ValueError("a header is cut")
        return self._value >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        return bool(self.read(1))


@dataclass(frozen=True, slots=True)
class _Sequence:
    """The parts of a sequence header that the header of a frame depends on.

    Attributes:
        screen_content_tools, integer_mv: 0, 1, or 2 if each frame states its own.
        frame_id_bits, order_hint_bits: length of these numbers, 0 if frames do not have them.
    """

    screen_content_tools: int
    integer_mv: int
    frame_id_bits: int
    order_hint_bits: int

    @classmethod
    def parse(cls, bits: _Bits) -> _Sequence | None:
        """Read a sequence header; None for still images, layers and models of decoding times, whose
        frames have other headers."""
        bits.read(3)  # seq_profile
        if bits.read(2) or not _read_timing(bits) or not _read_operating_point(bits):
            return None
        width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
        bits.read(width_bits + height_bits)
        frame_id_bits = bits.read(4) + bits.read(3) + 3 if bits.flag() else 0
        bits.read(7)  # size of blocks, kinds of prediction and filters
        has_order_hint = bits.flag()
        if has_order_hint:
            bits.read(2)  # enable_jnt_comp, enable_ref_frame_mvs
        tools = _STATED if bits.flag() else bits.read(1)
        integer = _STATED if not tools or bits.flag() else bits.read(1)
        return cls(tools, integer, frame_id_bits, bits.read(3) + 1 if has_order_hint else 0)


def _read_timing(bits: _Bits) -> bool:
    """Skip the timing information; return whether it has no decoder model."""
    if not bits.flag():
        return True
    bits.read(64)  # num_units_in_display_tick, time_scale
    if bits.flag():  # equal_picture_interval
        zeros = 0
        while not bits.flag():
            zeros += 1
        bits.read(zeros if zeros < 32 else 0)
    return not bits.flag()


def _read_operating_point(bits: _Bits) -> bool:
    """Skip the operating point; return whether it is the only one and has no layers."""
    has_delay = bits.flag()
    if bits.read(5) or bits.read(12):
        return False
    if bits.read(5) > 7:
        bits.read(1)  # seq_tier
    if has_delay and bits.flag():
        bits.read(4)
    return True
