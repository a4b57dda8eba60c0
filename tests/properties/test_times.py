"""Times as text, timecode, ticks and spans, for any moment and rate."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from vtnstream.intervals import Interval, merge, temporal_iou, total_length
from vtnstream.report.timebase import Clock
from vtnstream.timecode import (
    SMPTE_RATES,
    FrameCount,
    drops_frames,
    format_length,
    format_smpte,
    format_span,
    format_time,
    parse_duration,
    parse_rate,
    parse_smpte,
    parse_time,
)

DAY = 86_400
moments = st.fractions(0, 3 * DAY, max_denominator=90_000)
rates = st.sampled_from(SMPTE_RATES)
ticks = st.sampled_from([Fraction(1, n) for n in (1000, 12_800, 30_000, 90_000, 10**9)])
spans = st.builds(
    lambda start, length: Interval(start, start + length),
    st.floats(0, 1000),
    st.floats(0, 100),
)


@given(moments, st.integers(0, 6))
def test_a_printed_time_is_read_back_and_never_later(moment: Fraction, digits: int) -> None:
    again = parse_time(format_time(moment, digits=digits))
    assert isinstance(again, Fraction)
    assert 0 <= moment - again + Fraction(1, 10**9) < Fraction(1, 10**digits) + Fraction(2, 10**9)


@given(moments, moments, st.integers(0, 3))
def test_a_printed_length_is_the_difference_of_the_printed_times(
    a: Fraction, b: Fraction, digits: int
) -> None:
    first, last = sorted((a, b))
    start, end, length = (parse_time(text) for text in format_span(first, last, digits=digits))
    assert isinstance(start, Fraction) and isinstance(end, Fraction)
    assert end - start == length
    assert format_span(first, last, digits=digits)[:2] == (
        format_time(first, digits=digits),
        format_time(last, digits=digits),
    )


def test_the_length_of_a_video_is_rounded() -> None:
    lengths = {
        1.83: "0:01.8",
        9.97: "0:10",
        40: "0:40",
        59.96: "1:00",
        83.6: "1:24",
        3600: "1:00:00",
    }
    assert {seconds: format_length(seconds) for seconds in lengths} == lengths


@given(st.integers(0, 10**7))
def test_frame_counts_and_seconds_are_told_apart(number: int) -> None:
    assert parse_time(f"{number}f") == FrameCount(number)
    assert parse_time(f"{number}s") == parse_time(str(number)) == number
    assert parse_duration(f"{number}m") == 60 * number


@given(st.fractions(Fraction(1, 1000), 1000, max_denominator=1001))
def test_a_rate_is_read_back(rate: Fraction) -> None:
    assert parse_rate(str(rate)) == parse_rate(rate) == rate


@given(st.data(), rates, st.booleans())
def test_timecode_is_read_back(data: st.DataObject, rate: Fraction, drop: bool) -> None:
    drop = drop and drops_frames(rate)
    frame = data.draw(st.integers(0, int(rate * DAY) - 1))
    text = format_smpte(frame, rate, drop=drop)
    assert parse_smpte(text, rate) == (frame, drop)
    assert format_smpte(frame + 1, rate, drop=drop) > text or text.startswith("23:59:59")


@given(st.data(), st.sampled_from([rate for rate in SMPTE_RATES if drops_frames(rate)]))
def test_drop_frame_timecode_keeps_to_the_clock(data: st.DataObject, rate: Fraction) -> None:
    frame = data.draw(st.integers(0, int(rate * DAY) - 1))
    hours, minutes, rest = format_smpte(frame, rate, drop=True).split(":")
    shown = int(hours) * 3600 + int(minutes) * 60 + int(rest.split(";")[0])
    assert abs(shown - frame / rate) < Fraction(11, 10)  # the frames of a second, and 86 ms a day


@given(ticks, moments, moments)
def test_ticks_of_a_clock(tick: Fraction, start: Fraction, moment: Fraction) -> None:
    start = round(start / tick) * tick
    clock = Clock(tick, start)
    seconds = float(moment)
    exact = clock.exact(seconds)
    assert (exact + start) % tick == 0
    assert abs(exact - Fraction(seconds)) <= tick / 2
    assert clock.exact(float(exact)) == exact or tick < Fraction(1, 10**8)  # beyond a float
    assert clock.milliseconds(seconds) <= 1000 * exact


@given(st.lists(spans, max_size=12))
def test_merged_spans_are_sorted_apart_and_as_long(found: list[Interval]) -> None:
    merged = merge(found)
    assert all(a.end < b.start for a, b in pairwise(merged))
    for span in found:
        assert any(m.start <= span.start and span.end <= m.end for m in merged)
    assert total_length(found) <= sum(span.length for span in found) + 1e-9
    assert merge(merged) == merged


@given(spans, spans)
def test_overlap_of_two_spans(a: Interval, b: Interval) -> None:
    shared = temporal_iou(a, b)
    assert shared == temporal_iou(b, a)
    assert 0 <= shared <= 1
    assert temporal_iou(a, a) == (1.0 if a.length else 0.0)
