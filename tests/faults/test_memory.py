"""A process stays as it was, however many files it reads and however long they are."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.videos import block_video
from tests.faults.tally import Cases
from tests.faults.work import Work
from tests.synth import SyntheticVideo

pytestmark = pytest.mark.slow

MEGABYTE = 2**20
NUM_FILES = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """How a process stands once so much is done."""

    done: int
    memory: float
    """Resident, in MB."""
    handles: int


def watched(pid: int, done: Callable[[], int]) -> Iterator[Sample]:
    """Samples until the process has ended (it is a zombie then: nobody has waited for it)."""
    page = os.sysconf("SC_PAGESIZE")
    while True:
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            handles = len(os.listdir(f"/proc/{pid}/fd"))
        except FileNotFoundError:
            return
        if not pages:
            return
        yield Sample(done(), pages * page / MEGABYTE, handles)
        time.sleep(0.02)


def videos(folder: Path) -> list[Path]:
    """A thousand: different sizes and containers, each its own content, every tenth broken."""
    seeds = []
    for number, suffix in enumerate((".mp4", ".mkv", ".ts", ".avi", ".mp4")):
        size = (64 + 32 * number, 64)
        codec = {".avi": "mpeg4"}.get(suffix, "libx264")
        video = SyntheticVideo(count=24, rate=6, size=size, codec=codec, options={}, ticks=6)
        seeds.append(video.write(folder / f"seed{number}{suffix}"))
    paths = []
    for number in range(NUM_FILES):
        seed = seeds[number % len(seeds)]
        data = seed.read_bytes()
        if number % 10 == 9:
            data = data[: len(data) * (number % 7) // 8]
        path = folder / f"{number:04d}{seed.suffix}"
        path.write_bytes(data + f"{number:08d}".encode())
        paths.append(path)
    for seed in seeds:
        seed.unlink()
    return paths


def test_a_thousand_files_in_one_process(work: Work, cases: Cases, tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, videos(tmp_path / "films"))))
    out = tmp_path / "out"
    out.mkdir()
    pid = work.warm.start(
        *("timeline", "-m", work.model, "--files-from", listed, "-o", out, "-q"),
        *("--cache-dir", tmp_path / "cache", "--progress", "none", "--backend", "eager"),
        seconds=3000,
    )
    samples = list(watched(pid, lambda: len(os.listdir(out))))
    ended = work.warm.end(pid)
    assert ended.code == 1, ended
    total = len(list(out.glob("*.json")))
    assert NUM_FILES * 0.8 < total < NUM_FILES
    early = [sample for sample in samples if 45 <= sample.done <= 60]
    late = [sample for sample in samples if sample.done >= total - 15]
    with cases("a thousand files in one process"):
        growth = _median(late, "memory") - _median(early, "memory")
        handles = _median(late, "handles") - _median(early, "handles")
        print(f"growth from file 50 to {NUM_FILES}: {growth:.1f} MB, {handles:+} handles")
        assert growth <= 50
        assert handles <= 5


def _median(samples: list[Sample], name: str) -> float:
    return statistics.median(getattr(sample, name) for sample in samples)


def test_three_hours_in_flat_memory(work: Work, cases: Cases, tmp_path: Path) -> None:
    video = block_video(tmp_path, 3 * 3600.0)
    cache = tmp_path / "cache"
    pid = work.warm.start(
        *("extract", video, "-m", work.model, "-o", tmp_path / "f.safetensors", "--fps", "2"),
        *("--cache-dir", cache, "--progress", "none", "--backend", "eager", "--batch-size", "8"),
        seconds=3000,
    )
    samples = list(watched(pid, lambda: sum(1 for _ in cache.rglob("0*.safetensors"))))
    ended = work.warm.end(pid)
    assert ended.code == 0, ended
    assert max(sample.done for sample in samples) == 180, "a chunk is a minute"
    with cases("three hours in flat memory"):
        fifth = _median([sample for sample in samples if sample.done == 5], "memory")
        most = max(sample.memory for sample in samples if sample.done >= 5)
        print(f"from minute 5 ({fifth:.1f} MB) on at most {most - fifth:.1f} MB more")
        assert most - fifth <= 16
