"""vtnstream as a contender over many short videos, by the code of a worker of ``batch extract``."""

from __future__ import annotations

import queue
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.ours import OurFeatures
from vtnstream.batch.workers.executor import attempt
from vtnstream.batch.workers.executors import ExtractExecutor, Part
from vtnstream.batch.workers.outcome import DONE, Outcome, Task
from vtnstream.progress import NullProgress


class OurClips(OurFeatures):
    """A worker of ``vtnstream batch extract`` with the model kept loaded.

    Args:
        together: process several videos at the same time, as a worker does.
        settings: as for :class:`OurFeatures`.
    """

    def __init__(self, *, together: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self._together = together
        self._cache = Path(self.output) / "cache"
        self.runtime = replace(self.runtime, cache_dir=self._cache)

    def extract_all(self, videos: list[str]) -> int:
        """Write a store and a feature file for each video; return the number of videos."""
        output = Path(self.output)
        output.mkdir(parents=True, exist_ok=True)
        for file in output.glob("*.safetensors"):
            file.unlink()
        shutil.rmtree(self._cache / "features", ignore_errors=True)  # the engine is kept
        executor = ExtractExecutor(
            self.encoder, self.sampling, part=Part(), runtime=self.runtime, output=output
        )
        tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        for video in videos:
            tasks.put(Task(video, Path(video).stem))
        done: list[Outcome] = []

        def work() -> None:
            for task in _taken(tasks):
                done.append(attempt(executor, task, NullProgress()))

        count = executor.facts.side_by_side if self._together else 1
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wrong = [outcome.error for outcome in done if outcome.status != DONE]
        if wrong or len(done) != len(videos):
            raise RuntimeError(f"{len(done)} of {len(videos)} videos were processed; {wrong[:1]}")
        return len(done)

    def decode_all(self, videos: list[str]) -> int:
        """Decode only the sampled frames of each video."""
        return sum(self.decode(video) for video in videos)


def _taken(tasks: queue.SimpleQueue[Task]) -> Iterator[Task]:
    while True:
        try:
            yield tasks.get_nowait()
        except queue.Empty:
            return
