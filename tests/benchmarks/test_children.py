"""Contenders in processes of their own: measurements and failures."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from benchmarks.child import gpu_bytes
from benchmarks.children import MEGABYTE, Child, Failure, Limits, Measurement, Median, interleave

PATIENT = "tests.benchmarks.contenders:Patient"


@pytest.fixture
def child() -> Iterator[Child]:
    with Child(PATIENT, {"start": 5}) as child:
        yield child


def test_calls_go_to_one_object_in_another_process(child: Child) -> None:
    answers = [child.call("add", number=n) for n in (1, 2)]
    assert [answer.value for answer in answers if isinstance(answer, Measurement)] == [6, 8]
    there = child.call("pid")
    assert isinstance(there, Measurement) and there.value != os.getpid()


def test_time_and_memory_are_those_of_the_call(child: Child) -> None:
    slept, worked = child.call("sleep", seconds=0.3), child.call("work", seconds=0.2)
    held, taken = child.call("hold", megabytes=50), child.call("release_much", megabytes=80)
    after = child.call("sleep", seconds=0)
    for answer in (slept, worked, held, taken, after):
        assert isinstance(answer, Measurement)
    assert slept.wall >= 0.3 > 0.15 > slept.cpu
    assert 0.2 <= worked.cpu < 0.4
    assert 45 < (held.peak - held.before) / MEGABYTE < 70
    assert 75 < (taken.peak - taken.before) / MEGABYTE < 100
    assert (after.peak - after.before) / MEGABYTE < 20
    assert child.peak == taken.peak


def test_an_error_is_a_reason_and_stays(child: Child) -> None:
    assert child.call("fail") == Failure("ValueError: this video is too short")
    assert child.call("add", number=1) == Failure("ValueError: this video is too short")


def test_the_last_line_of_a_dead_process_is_its_reason(child: Child) -> None:
    assert child.call("die") == Failure("Fatal: out of luck")


def test_what_cannot_be_imported_is_a_reason() -> None:
    with Child("tests.benchmarks.contenders:Absent") as child:
        answer = child.call("add", number=1)
    assert isinstance(answer, Failure) and "no attribute 'Absent'" in answer.reason


def test_limits_of_time_and_memory_stop_a_call() -> None:
    with Child(PATIENT, limits=Limits(seconds=0.5)) as child:
        assert isinstance(child.call("add", number=1), Measurement)
        assert child.call("sleep", seconds=60) == Failure("beyond 0.5 s")
    with Child(PATIENT, limits=Limits(resident_bytes=200 * MEGABYTE)) as child:
        assert isinstance(child.call("hold", megabytes=20), Measurement)
        child.call("hold", megabytes=300)
        assert child.call("sleep", seconds=60) == Failure("beyond 0.2 GiB")


def test_environment_and_search_path_are_given() -> None:
    with Child(PATIENT, extra={"SPECIAL": "1"}) as child:
        answer = child.call("environment", name="SPECIAL")
        assert isinstance(answer, Measurement) and answer.value == "1"


def test_children_are_asked_in_turn_and_failures_stay_rows() -> None:
    with Child(PATIENT) as good, Child(PATIENT) as bad:
        bad.call("fail")
        found = interleave({"good": good, "bad": bad}, 3, "add", number=2)
    assert found["bad"] == Failure("ValueError: this video is too short")
    assert isinstance(found["good"], Median) and found["good"].values == [2, 4, 6]


def test_memory_of_a_gpu_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"now": 30, "most": 90}

    def start_over() -> None:
        held["most"] = held["now"]

    there = SimpleNamespace(
        is_initialized=lambda: True,
        max_memory_allocated=lambda: held["most"],
        reset_peak_memory_stats=start_over,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=there))
    assert [gpu_bytes(reset=reset) for reset in (False, True, False)] == [90, 30, 30]
    there.is_initialized = lambda: False
    assert gpu_bytes(reset=True) == 0
    monkeypatch.delitem(sys.modules, "torch")
    assert gpu_bytes(reset=True) == 0
