"""Progress where standard error is no terminal; the live display is in test_terminal.py."""

from __future__ import annotations

import pytest

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.progress import CommandProgress, Pace, PlainProgress, make_progress


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_rate_and_time_left() -> None:
    clock = Clock()
    pace = Pace(1000, clock)
    pace.advance(0)
    clock.now += 10
    pace.advance(250)
    assert pace.rate == 25
    assert pace.seconds_left == 30
    assert pace.rate_text("frames") == "25.0 frames/s"
    assert pace.left_text() == "0:30 left"


def test_slow_work_is_shown_in_seconds_per_unit() -> None:
    clock = Clock()
    pace = Pace(30, clock)
    pace.advance(0)
    clock.now += 10
    pace.advance(2)
    assert pace.rate_text("epochs") == "5.0 s/epoch"


def test_features_of_an_earlier_run_do_not_count_into_the_rate() -> None:
    clock = Clock()
    pace = Pace(1000, clock)
    clock.now += 50  # waited for a lock
    pace.advance(500)
    clock.now += 10
    pace.advance(600)
    assert pace.rate == 10
    assert pace.seconds_left == 40


def test_nothing_is_claimed_too_early_or_without_a_total() -> None:
    clock = Clock()
    pace = Pace(None, clock)
    pace.advance(0)
    clock.now += 0.5
    pace.advance(100)
    assert pace.rate is None and pace.rate_text("frames") == "" == pace.left_text()
    clock.now += 1
    assert pace.rate is not None and pace.seconds_left is None


def test_plain_lines_begin_at_once_and_come_every_few_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    progress = PlainProgress(Console(), clock)
    progress.prefix = "[1/2] "
    progress.start("film.mkv", total=600, unit="frames")
    assert capsys.readouterr().err == "vtnstream: [1/2] film.mkv: started, 600 frames\n"
    seconds: list[float] = []
    for step in range(600):
        clock.now += 0.1
        progress.advance(step + 1)
        if err := capsys.readouterr().err:
            assert "film.mkv" in err and "frames/s" in err and "left" in err
            seconds.append(clock.now - 100)
    progress.finish()
    assert "done, 600 frames" in capsys.readouterr().err
    gaps = [b - a for a, b in zip([0, *seconds], seconds, strict=False)]
    assert 1.9 < gaps[0] < 2.2
    assert all(gap < 5.2 for gap in gaps)
    assert len(seconds) <= 16


def test_plain_lines_grow_rare_in_a_long_night(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    progress = PlainProgress(Console(), clock)
    progress.start("film.mkv", total=None, unit="frames")
    for step in range(8 * 3600):
        clock.now += 1
        progress.advance(step)
    assert 900 < len(capsys.readouterr().err.splitlines()) < 1200


def test_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console()
    assert type(make_progress(console)) is PlainProgress  # pytest's stderr is no terminal
    console.progress = "none"
    assert type(make_progress(console)) is CommandProgress
    console.progress, console.verbosity = "rich", -1
    assert type(make_progress(console)) is CommandProgress


def test_warnings_of_the_library_pass_even_without_progress(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console()
    console.progress = "none"
    make_progress(console).warn("another process is reading it, waiting")
    assert "waiting" in capsys.readouterr().err


def test_stored_features_are_reported_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress(Console(), Clock())
    progress.start("film.mkv", total=80, unit="frames")
    progress.advance(80)
    progress.finish()
    assert capsys.readouterr().err.endswith("film.mkv: 80 frames from the cache\n")
