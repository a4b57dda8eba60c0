"""Many clients at once while a job runs: no error, and memory stays flat."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.studio.conftest import Served
from vtnstream.machine import resident_bytes

CLIENTS, SECONDS = 50, 20


@pytest.mark.slow
def test_fifty_clients_while_a_job_runs(
    command: Callable[..., tuple[object, Served]], folder: Path
) -> None:
    import subprocess

    process, served = command()
    assert isinstance(process, subprocess.Popen)
    names = served.ids()
    video, long = names["25 film.mp4"], names["long.mkv"]
    size = (folder / "25 film.mp4").stat().st_size
    served.post("/api/jobs", {"paths": ["25 film.mp4", "29.97 film.mkv"]}, 202)
    problems: list[str] = []
    slowest: list[float] = []
    end = time.monotonic() + SECONDS

    def client(seed: int) -> None:
        rng = random.Random(seed)
        while time.monotonic() < end:
            start = rng.randrange(size)
            path, headers, want = rng.choice(
                [
                    (f"/api/results/{video}/video", {"Range": f"bytes={start}-"}, 206),
                    (f"/api/results/{long}", {}, 200),
                    ("/api/results?text=film", {}, 200),
                    (f"/api/results/{video}/pictures/{rng.randrange(120)}", {}, 200),
                    ("/assets/video.js", {}, 200),
                    ("/api/jobs", {}, 200),
                ]
            )
            began = time.monotonic()
            try:
                status, _, body = served.ask("GET", path, headers=headers)
            except OSError as error:
                problems.append(f"{path}: {error!r}")
                continue
            slowest.append(time.monotonic() - began)
            if status != want or (status == 206 and len(body) != size - start):
                problems.append(f"{path}: {status}")

    for _ in range(30):  # everything is loaded once before memory is measured
        served.get(f"/api/results/{long}")
    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(CLIENTS)]
    for thread in threads:
        thread.start()
    held: list[int] = []
    while time.monotonic() < end:
        time.sleep(1)
        held.append(resident_bytes(process.pid) or 0)
    for thread in threads:
        thread.join()
    slowest.sort()
    print(
        f"{len(slowest)} requests, median {slowest[len(slowest) // 2]:.2f} s, "
        f"last {slowest[-1]:.2f} s, {held[4] / 2**20:.0f} to {held[-1] / 2**20:.0f} MiB"
    )
    assert problems == []
    assert len(slowest) > CLIENTS
    assert held[-1] - held[4] < 60 * 2**20
