"""The simulated cluster: its virtual videos, and that failing actors lose none of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.virtual_videos import Faults, VirtualExecutor
from vtnstream.batch.workers.executor import attempt
from vtnstream.batch.workers.outcome import DONE, RETRYABLE, Task
from vtnstream.progress import NullProgress

FAULTS = Faults(seconds=0.001, delayed=20, delay=0.05, refused=10, deadly=25)


def task(number: int) -> Task:
    return Task(f"virtual/{number}.mp4", str(number))


def folders(tmp_path: Path) -> tuple[Path, Path]:
    output, marks = tmp_path / "results", tmp_path / "marks"
    output.mkdir()
    marks.mkdir()
    return output, marks


def test_a_virtual_video_is_refused_once_and_never_written_twice(tmp_path: Path) -> None:
    output, marks = folders(tmp_path)
    executor = VirtualExecutor(FAULTS, output, marks)
    first, second, third = (attempt(executor, task(3), NullProgress()) for _ in range(3))
    assert first.code in RETRYABLE
    assert second.status == DONE and second.outputs == {"3.txt": len("virtual/3.mp4")}
    assert third.status != DONE
    assert FAULTS.seconds_of(21) == FAULTS.delay
    assert 0 <= FAULTS.seconds_of(22) < 2 * FAULTS.seconds


@pytest.mark.slow
def test_failing_actors_lose_no_video(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from benchmarks.scale import simulate

    output, marks = folders(tmp_path)
    tasks = [task(number) for number in range(60)]
    _, _, outcomes = simulate(tasks, FAULTS, output, marks, 2)
    assert Counter(outcome.path for outcome in outcomes) == Counter(t.path for t in tasks)
    assert {outcome.status for outcome in outcomes} == {DONE}
    assert {path.stem for path in output.iterdir()} == {t.name for t in tasks}
    assert sum(outcome.attempts > 1 for outcome in outcomes) == 6 + 3
