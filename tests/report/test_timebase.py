"""Frame numbers and timecode against OpenTimelineIO's own arithmetic."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import pytest
from opentimelineio.opentime import RationalTime, to_timecode

from tests.report.cases import VIDEO, report
from vtnstream.report.timebase import Clock, Timebase, editing_rate
from vtnstream.timecode import SMPTE_RATES, drops_frames, format_smpte, parse_smpte

NTSC = Fraction(30000, 1001)
CINEMA = Fraction(24000, 1001)


@pytest.mark.parametrize("rate", SMPTE_RATES)
def test_timecode_equals_opentimelineio_and_reads_back(rate: Fraction) -> None:
    drop = drops_frames(rate)
    day = int(24 * 3600 * rate)
    for frame in (*range(40_000), *range(0, day, 9973)):
        text = format_smpte(frame, rate, drop=drop)
        assert text == to_timecode(RationalTime(frame, float(rate)), float(rate), drop)
        assert parse_smpte(text, rate) == (frame, drop)


@pytest.mark.parametrize(
    "text", ["", "1:00:00:00", "00:00:00:30", "00:61:00:00", "00:01:00;00", "soon", "00:00:00"]
)
def test_invalid_timecodes(text: str) -> None:
    assert parse_smpte(text, NTSC) is None


def test_drop_frame_follows_real_time() -> None:
    base = timebase(NTSC)
    assert base.timecode(3600.0) == "01:00:00;00"
    assert timebase(CINEMA).timecode(3600.0) == "00:59:56:10"


def timebase(rate: Fraction | None, *, constant: bool = True, **video: object) -> Timebase:
    info = dataclasses.replace(VIDEO, average_rate=rate, start_seconds=Fraction(0), **video)
    found = Timebase.of(report(video=info, frame_rate=rate if constant else None))
    assert found is not None
    return found


@pytest.mark.parametrize("rate", [CINEMA, Fraction(25), NTSC, Fraction(10), Fraction(120)])
@pytest.mark.parametrize("tick", [Fraction(1, 1000), Fraction(1, 90_000), Fraction(1, 12_800)])
def test_every_frame_keeps_its_number_after_rounding_to_the_files_clock(
    rate: Fraction, tick: Fraction
) -> None:
    base = timebase(rate, time_base=tick)
    for number in (*range(1000), *range(0, 10**6, 4999)):
        stored = round(number / rate / tick) * tick  # what a muxer writes
        seconds = round(float(stored), 6)  # what the JSON says
        assert base.frame(seconds) == number
        assert base.clock.exact(seconds) == stored


def test_times_are_ticks_of_the_file() -> None:
    clock = Clock(Fraction(1, 90_000), Fraction(7, 5))
    assert clock.exact(0.033367) == Fraction(3003, 90_000)
    assert clock.milliseconds(0.033367) == 33
    assert clock.milliseconds(0.0) == 0
    assert clock.exact(3600.1) == Fraction(36001, 10)


def test_a_late_first_frame_has_number_0() -> None:
    base = timebase(Fraction(25), first_frame_seconds=Fraction(7, 100))
    assert [base.frame(t) for t in (0.0, 0.07, 0.11, 0.15)] == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("start", "shown"),
    [
        ("01:00:00;00", "01:00:01;00"),
        ("01:00:00:00", "01:00:01:00"),  # the camera counted without dropping
        ("nonsense", "00:00:01;00"),
        (None, "00:00:01;00"),
    ],
)
def test_timecode_continues_that_of_the_source(start: str | None, shown: str) -> None:
    base = timebase(NTSC, start_timecode=start)
    assert base.timecode(1.0) == shown


@pytest.mark.parametrize("rate", [Fraction(25, 2), Fraction(2997, 100), Fraction(15, 2)])
def test_rates_without_a_timecode_have_none(rate: Fraction) -> None:
    base = timebase(rate)
    assert base.timecode(29.36) is None
    assert base.frame(2.0) == int(2 * rate + Fraction(1, 2))


@pytest.mark.parametrize(
    ("rate", "own", "shown"),
    [
        (Fraction(50), Fraction(25), "10:00:00:48"),
        (Fraction(50), None, "10:00:00:24"),
        (2 * NTSC, NTSC, "10:00:00:48"),
        (Fraction(24), Fraction(24), "10:00:00:00"),
    ],
)
def test_a_timecode_track_counts_at_its_own_rate(
    rate: Fraction, own: Fraction | None, shown: str
) -> None:
    text = "10:00:00:24" if rate != 24 else "10:00:00:00"
    base = timebase(rate, start_timecode=text, timecode_rate=own)
    assert base.timecode(0.0) == shown


@pytest.mark.parametrize(
    ("average", "nominal"),
    [
        (Fraction(2007, 100), Fraction(20)),
        (Fraction(2991, 100), NTSC),
        (Fraction(6000, 299), Fraction(20)),
        (Fraction(7), Fraction(7)),
        (Fraction(359, 12), NTSC),
    ],
)
def test_variable_rates_count_on_a_standard_one_and_say_so(
    average: Fraction, nominal: Fraction
) -> None:
    base = timebase(average, constant=False)
    assert (base.rate, base.constant) == (nominal, False)


def test_without_a_rate_there_is_no_timebase() -> None:
    unknown = dataclasses.replace(VIDEO, average_rate=None)
    assert Timebase.of(report(video=unknown, frame_rate=None)) is None


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(10, 30), (12.5, 25), (15, 30), (1, 24), (29.97, 29.97), (100, 60), (14.985, 29.97)],
)
def test_editing_rates_have_a_timecode(rate: float, expected: float) -> None:
    exact = {29.97: NTSC, 14.985: NTSC / 2}
    found = editing_rate(exact.get(rate, Fraction(rate)))
    assert found == exact.get(expected, Fraction(expected))
