"""Frames of AV1 that nothing is predicted from are recognised by their headers."""

from __future__ import annotations

import pytest

from vtnstream.video.decoding.av1 import TemporalUnits

KEY, INTER, INTRA_ONLY, SWITCH = range(4)


class Bits:
    """Writes numbers from the most significant bit on."""

    def __init__(self) -> None:
        self.text = ""

    def put(self, value: int, count: int) -> Bits:
        self.text += f"{value:0{count}b}" if count else ""
        return self

    def data(self) -> bytes:
        text = self.text + "1" + "0" * (-len(self.text) - 1) + "0" * 7
        text = text[: len(text) // 8 * 8]
        return int(text, 2).to_bytes(len(text) // 8, "big")


def unit(kind: int, payload: bytes) -> bytes:
    return bytes([kind << 3 | 2, len(payload)]) + payload


def sequence(
    *,
    timing: bool = False,
    model: bool = False,
    layers: int = 0,
    delay: bool = False,
    level: int = 8,
    ids: bool = False,
    tools: int = 2,
    integer: int = 2,
    order: int = 7,
) -> bytes:
    bits = Bits().put(0, 3).put(0, 2).put(timing, 1)
    if timing:
        bits.put(1, 32).put(25, 32).put(1, 1).put(0b00101, 5).put(model, 1)
    if model:
        bits.put(0, 5 + 32 + 5 + 5)
    bits.put(delay, 1).put(layers, 5).put(0, 12).put(level, 5)
    if level > 7:
        bits.put(0, 1)
    if delay:
        bits.put(1, 1).put(9, 4)
    bits.put(9, 4).put(8, 4).put(639, 10).put(359, 9).put(ids, 1)
    if ids:
        bits.put(3, 4).put(2, 3)  # ids of 8 bits
    bits.put(0, 7).put(order > 0, 1)
    if order:
        bits.put(0, 2)
    bits.put(tools == 2, 1)
    if tools != 2:
        bits.put(tools, 1)
    if tools:
        bits.put(integer == 2, 1)
        if integer != 2:
            bits.put(integer, 1)
    if order:
        bits.put(order - 1, 3)
    return unit(1, bits.put(0, 40).data())


def frame(
    refresh: int,
    *,
    kind: int = INTER,
    shown: bool = True,
    resilient: bool = False,
    ids: bool = False,
    tools: int = 2,
    integer: int = 2,
    order: int = 7,
    obu: int = 6,
) -> bytes:
    bits = Bits().put(0, 1).put(kind, 2).put(shown, 1)
    if not shown:
        bits.put(1, 1)
    bits.put(resilient, 1).put(0, 1)
    if tools == 2:
        bits.put(1, 1)
    if tools and integer == 2:
        bits.put(1, 1)
    bits.put(255, 8 * ids).put(0, 1).put((1 << order) - 1, order)
    if kind == INTER and not resilient:
        bits.put(7, 3)
    return unit(obu, bits.put(refresh, 8).put(0xFF, 8).data())


FORMS = [
    {},
    {"ids": True},
    {"tools": 0},
    {"tools": 1},
    {"tools": 1, "integer": 1},
    {"integer": 0},
    {"order": 0},
    {"order": 3, "ids": True},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(
    "own", [{}, {"resilient": True}, {"kind": INTRA_ONLY}, {"obu": 3}], ids=str
)
def test_a_displayed_frame_that_replaces_no_reference(form: dict, own: dict) -> None:
    units = TemporalUnits(b"\x81\x05\x0c\x00" + sequence(**form))
    assert units.is_unreferenced(unit(2, b"") + frame(0, **form, **own))
    for refresh in (1, 128, 255):
        assert not units.is_unreferenced(unit(2, b"") + frame(refresh, **form, **own))


@pytest.mark.parametrize("form", [{"timing": True}, {"delay": True}, {"level": 4}], ids=str)
def test_other_parts_of_the_sequence_header(form: dict) -> None:
    units = TemporalUnits(b"")
    assert not units.is_unreferenced(unit(2, b"") + sequence(**form) + frame(0))
    assert units.is_unreferenced(frame(0))
    assert not units.is_unreferenced(frame(2))


@pytest.mark.parametrize(
    "packet",
    [
        frame(0, shown=False),
        frame(0, shown=False) + frame(0),
        frame(4, shown=False) + frame(0),
        frame(0, kind=SWITCH),
        unit(3, b"\x80\x00"),  # shows an existing frame
        b"",
        unit(2, b""),
        unit(5, b"metadata"),
        frame(0)[:3],
        frame(0) + b"\x32",
        bytes([0x80 | frame(0)[0]]) + frame(0)[1:],
        bytes([frame(0)[0] | 4, 0]) + frame(0)[1:],  # a layer
        unit(6, b"\x10"),
    ],
    ids=range(13),
)
def test_everything_else_is_decoded(packet: bytes) -> None:
    units = TemporalUnits(sequence())
    assert units.is_unreferenced(frame(0))
    assert not units.is_unreferenced(packet)


@pytest.mark.parametrize("form", [{"timing": True, "model": True}, {"layers": 1}], ids=str)
def test_streams_with_other_frame_headers_are_decoded(form: dict) -> None:
    assert not TemporalUnits(sequence(**form)).is_unreferenced(frame(0))


def test_nothing_is_known_before_a_sequence_header() -> None:
    assert not TemporalUnits(b"").is_unreferenced(frame(0))
    assert not TemporalUnits(b"\x81").is_unreferenced(frame(0))
