"""Mutated media, checkpoints, configs, manifests, features and reports: an answer or one line,
never a crash, a hang, a flood of memory, or an answer from damaged features."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.faults.conftest import Some
from tests.faults.fuzz import KINDS, write_seeds
from tests.faults.tally import Cases
from tests.faults.work import Work

COUNTS = {
    "media": 900,
    "feature chunk": 200,
    "feature file": 100,
    "checkpoint": 200,
    "model config": 200,
    "settings": 100,
    "manifest": 100,
    "annotation": 100,
    "report": 200,
}
SOME = 7
"""Of each kind."""

LOST_ONCE = {"model config": (2, 37), "settings": (31,)}
"""Numbers of cases that were lost once: values of 5,000 digits."""


@pytest.fixture(scope="session")
def seeds(work: Work, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = {}
    for kind, name in (("extract", "f.safetensors"), ("timeline", "film.mp4.json")):
        with work.place(kind) as place:
            assert place.run().code == 0
            renamed = {"f.safetensors": "features.safetensors"}.get(name, "report.json")
            results[renamed] = (place.out / name).read_bytes()
            results["chunk.safetensors"] = place.chunks()[1].read_bytes()
    return write_seeds(tmp_path_factory.mktemp("seeds"), work.model, results)


def fuzz(work: Work, cases: Cases, kind: str, numbers: range, seeds: Path, scratch: Path) -> None:
    """Cases in one child, and in another one where that dies."""
    lost: dict[int, str] = {}
    first = numbers.start
    while first < numbers.stop:
        arguments = (kind, first, numbers.stop, str(seeds), str(scratch))
        program = f"from tests.faults.fuzz import main; main{arguments!r}"
        ended = work.warm.run(program=program, seconds=1500)
        if ended.code == 0:
            break
        first = int((scratch / "at").read_text()) + 1
        lost[first - 1] = f"the process ended with {ended.code}: {ended.err[-500:]}"
    if (scratch / "lost").exists():
        lost.update(map(json.loads, (scratch / "lost").read_text().splitlines()))
    for number in numbers:
        with cases(f"fuzzed {kind}", str(number)):
            assert number not in lost, lost[number]


@pytest.mark.parametrize("kind", KINDS)
def test_fuzz(work: Work, cases: Cases, some: Some, kind: str, seeds: Path, tmp_path: Path) -> None:
    numbers = range(COUNTS[kind])
    if len(some(numbers, SOME)) < len(numbers):
        numbers = range(SOME)
    for start in range(0, len(numbers), 100):
        part = numbers[start : start + 100]
        folder = tmp_path / str(start)
        folder.mkdir()
        fuzz(work, cases, kind, part, seeds, folder)
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", LOST_ONCE)
def test_cases_that_were_lost_once(
    work: Work, cases: Cases, kind: str, seeds: Path, tmp_path: Path
) -> None:
    for number in LOST_ONCE[kind]:
        fuzz(work, cases, kind, range(number, number + 1), seeds, tmp_path)
