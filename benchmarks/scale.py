"""A simulated cluster: a local Ray with delayed and failing actors and thousands of virtual
videos. Measures what the scheduler costs, and that no video is lost or processed twice."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import common
from benchmarks.virtual_videos import Faults, maker
from vtnstream.batch.workers.cluster import RayPool
from vtnstream.batch.workers.outcome import DONE, Outcome, Task
from vtnstream.config.batch import BatchConfig

MOST_MILLISECONDS = 10.0


def main(arguments: list[str]) -> None:
    parser = common.parser("scale", __doc__)
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--actors", type=int, default=2)
    options = parser.parse_args(arguments)
    faults = Faults()
    settings = {"videos": options.videos, "actors": options.actors}
    result = common.Result("scale", settings)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        output, marks = folder / "results", folder / "marks"
        output.mkdir()
        marks.mkdir()
        tasks = [Task(f"virtual/{n}.mp4", str(n)) for n in range(options.videos)]
        wall, cpu, outcomes = simulate(tasks, faults, output, marks, options.actors)
        files = {path.stem for path in output.iterdir()}
        deaths = sum(n % faults.deadly == 2 for n in range(options.videos))
        refusals = sum(n % faults.refused == 3 for n in range(options.videos))
    waited = sum(faults.seconds_of(n) for n in range(options.videos))
    counts = Counter(outcome.path for outcome in outcomes)
    lost = [t.path for t in tasks if not counts[t.path] or t.name not in files]
    twice = [path for path, count in counts.items() if count > 1]
    table = result.table(
        "Scheduler",
        *("videos", "actor deaths", "refused results", "wall s", "videos' own s", "driver CPU s"),
    )
    table.add(len(tasks), deaths, refusals, wall, waited / options.actors, cpu)
    each = 1000 * cpu / len(tasks)
    result.target("driver: CPU ms a video", each, MOST_MILLISECONDS, at_most=True)
    result.target("videos lost", float(len(lost)), 0.0, at_most=True)
    result.target("videos with two outcomes", float(len(twice)), 0.0, at_most=True)
    failed = sum(outcome.status != DONE for outcome in outcomes)
    result.target("videos failed", float(failed), 0.0, at_most=True)
    again = sum(outcome.attempts > 1 for outcome in outcomes)
    result.notes.append(f"{again} videos took more than one attempt")
    result.deliver(options)


def simulate(
    tasks: list[Task], faults: Faults, output: Path, marks: Path, actors: int
) -> tuple[float, float, list[Outcome]]:
    """Process the videos on a local cluster.

    Returns:
        Wall seconds and CPU seconds of the driver from the first task on, and the outcomes.
    """
    config = BatchConfig(workers=actors, retries=2)
    pool = RayPool(maker(faults, output, marks), config, place=str(output), threads=1)
    with pool:
        pool.start()
        wall, cpu = time.perf_counter(), time.process_time()
        outcomes = list(pool.run(tasks, lambda share, note: None))
        return time.perf_counter() - wall, time.process_time() - cpu, outcomes
