"""Parse NAL units and parameter sets of H.264 and HEVC in packets and headers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_START_CODE = b"\0\0\0\1"
_KINDS = {"h264": (7, 8), "hevc": (32, 33, 34)}
"""NAL unit types of parameter sets."""


class SmartCutError(Exception):
    """The part cannot be written by a smart cut; the message is a clause that states the reason."""


@dataclass(frozen=True, slots=True)
class NalUnits:
    """Format of the NAL units in packets of the source.

    Attributes:
        codec: ``h264`` or ``hevc``.
        prefix: size in bytes of the length before each unit; 0 if start codes separate the units.
        sets: parameter sets of the source, without prefix.
    """

    codec: str
    prefix: int
    sets: tuple[bytes, ...]

    @classmethod
    def of(cls, codec: str, extradata: bytes) -> NalUnits:
        """Read the format from the codec's extradata.

        Raises:
            SmartCutError: the codec is not supported, or there are no parameter sets.
        """
        if codec not in _KINDS:
            raise SmartCutError(f"{codec} is only copied or encoded whole")
        if codec == "h264" and len(extradata) > 6 and extradata[0] == 1:
            return cls(codec, (extradata[4] & 3) + 1, tuple(_avcc_sets(extradata)))
        if codec == "hevc" and len(extradata) > 22 and extradata[0] == 1:
            return cls(codec, (extradata[21] & 3) + 1, tuple(_hvcc_sets(extradata)))
        sets = [unit for unit in split(extradata) if _kind(unit, codec) in _KINDS[codec]]
        if not sets:
            raise SmartCutError("its parameter sets are not known")
        return cls(codec, 0, tuple(sets))

    def joined(self, units: list[bytes]) -> bytes:
        """Return units in the form of a packet."""
        if not self.prefix:
            return b"".join(_START_CODE + unit for unit in units)
        return b"".join(len(unit).to_bytes(self.prefix, "big") + unit for unit in units)

    def with_sets(self, data: bytes) -> bytes:
        """Return a packet preceded by the parameter sets of the source."""
        return self.joined(list(self.sets)) + data


def _kind(unit: bytes, codec: str) -> int:
    return unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F


def split(data: bytes) -> list[bytes]:
    """Return the NAL units between start codes."""
    units, place = [], data.find(b"\0\0\1")
    while place >= 0:
        following = data.find(b"\0\0\1", place + 3)
        unit = data[place + 3 : following if following >= 0 else len(data)]
        unit = unit.rstrip(b"\0") if following >= 0 else unit
        if unit:
            units.append(unit)
        place = following
    return units


def _avcc_sets(record: bytes) -> Iterator[bytes]:
    """Yield the parameter sets of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15 5.3.3.1)."""
    place = 5
    for mask in (0x1F, 0xFF):
        count = record[place] & mask
        place += 1
        for _ in range(count):
            size = int.from_bytes(record[place : place + 2], "big")
            yield record[place + 2 : place + 2 + size]
            place += 2 + size


def _hvcc_sets(record: bytes) -> Iterator[bytes]:
    """Yield the parameter sets of an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 8.3.3.1)."""
    place = 23
    for _ in range(record[22]):
        kind = record[place] & 0x3F
        count = int.from_bytes(record[place + 1 : place + 3], "big")
        place += 3
        for _ in range(count):
            size = int.from_bytes(record[place : place + 2], "big")
            if kind in _KINDS["hevc"]:
                yield record[place + 2 : place + 2 + size]
            place += 2 + size
