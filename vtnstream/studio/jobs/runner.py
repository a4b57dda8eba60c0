"""The thread that works through the queue, with one worker process for each device.

Videos are processed by the worker pool of ``vtnstream batch``: a video that crashes or fills the
memory fails alone, and the server continues.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from vtnstream.batch.workers.executor import MakeExecutor
from vtnstream.batch.workers.local import LocalPool
from vtnstream.batch.workers.outcome import FAILED as VIDEO_FAILED
from vtnstream.batch.workers.outcome import Outcome, Task
from vtnstream.config.batch import BatchConfig
from vtnstream.errors import VtnstreamError, one_line
from vtnstream.studio.jobs.executors import make_analysis, make_previews
from vtnstream.studio.jobs.queue import CANCELLED, DONE, FAILED, Job, JobQueue
from vtnstream.wording import plural

_IDLE_SECONDS = 60.0
"""A pool without work is kept this long, with its model loaded."""


class JobStopped(Exception):
    """The job was cancelled, or the server stops."""


class Work:
    """What a job may use while it runs.

    Args:
        job: the job.
        queue: receives its progress.
        runner: runs videos.
    """

    def __init__(self, job: Job, queue: JobQueue, runner: JobRunner) -> None:
        self.job, self._queue, self._runner = job, queue, runner

    def check(self) -> None:
        """
        Raises:
            JobStopped: the job was cancelled, or the server stops.
        """
        if self._runner.is_stopping() or self._queue.is_cancelled(self.job.id):
            raise JobStopped

    def progress(self, share: float, note: str) -> None:
        """Record the progress; raises like :meth:`check`."""
        self.check()
        self._queue.progress(self.job.id, share, note)

    def run(self, make: MakeExecutor, tasks: Sequence[Task]) -> list[Outcome]:
        """Process videos in worker processes.

        Raises:
            JobStopped: as :meth:`check`.
            VtnstreamError: the request is wrong for every video, or workers do not start.
        """
        pool = self._runner.pool(make)
        outcomes: list[Outcome] = []

        def on_progress(running: float, note: str) -> None:
            done = len(outcomes)
            words = f"{done} of {plural(len(tasks), 'video')}"
            self.progress((done + running) / len(tasks), words)

        with contextlib.closing(pool.run(tasks, on_progress)) as found:
            for outcome in found:
                outcomes.append(outcome)
                on_progress(0.0, "")
        return outcomes


Handler = Callable[[Work], dict[str, Any]]
"""Does one kind of job; returns what it made. A note in words stands under ``note``."""


class JobRunner:
    """Runs jobs of some kinds one after the other. Jobs of other kinds are left to other runners.

    Args:
        queue: the jobs.
        handlers: kind -> what does it.
    """

    def __init__(self, queue: JobQueue, handlers: dict[str, Handler]) -> None:
        self._queue, self._handlers = queue, handlers
        self._stack = ExitStack()
        self._pool: tuple[str, LocalPool] | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin, with what the last server left."""
        self._queue.recover(self._handlers)
        self._thread.start()

    def stop(self) -> None:
        """Stop; a running job is queued again."""
        self._stopping.set()
        self._queue.end_waiting()
        if self._thread.is_alive():
            self._thread.join()

    def is_stopping(self) -> bool:
        """Whether the server stops."""
        return self._stopping.is_set()

    def pool(self, make: MakeExecutor) -> LocalPool:
        """A pool with this executor; the one of the job before if it has the same."""
        key = repr(make)
        if self._pool is not None and self._pool[0] == key:
            return self._pool[1]
        self._close_pool()
        pool = self._stack.enter_context(LocalPool(make, BatchConfig()))
        device = pool.start().device
        pool.num_workers = pool.num_workers if device.startswith("cuda") else 1
        self._pool = (key, pool)
        return pool

    def _close_pool(self) -> None:
        self._pool = None
        self._stack.close()

    def _run(self) -> None:
        try:
            while not self.is_stopping():
                job = self._queue.claim(_IDLE_SECONDS, self._handlers)
                if job is None:
                    self._close_pool()
                elif self.is_stopping():
                    self._queue.put_back(job.id)
                else:
                    self._work(job)
        finally:
            self._close_pool()

    def _work(self, job: Job) -> None:
        try:
            outcome = self._handlers[job.kind](Work(job, self._queue, self))
            self._queue.finish(job.id, DONE, str(outcome.pop("note", "")), outcome)
        except JobStopped:
            self._close_pool()
            if self.is_stopping():
                self._queue.put_back(job.id)
            else:
                self._queue.finish(job.id, CANCELLED, "", {})
        except Exception as error:
            self._close_pool()
            self._queue.finish(job.id, FAILED, one_line(error), {})


class VideosFailedError(VtnstreamError):
    """Every video of a job failed."""


def analyse(work: Work, *, output: Path, name_of: Callable[[str], str]) -> dict[str, Any]:
    """Analyse videos; the handler of ``analyse``.

    Args:
        work: the job; its request has ``paths``, ``model`` and ``task``.
        output: folder of the results.
        name_of: base name of the result of a path.
    """
    request = work.job.request
    make = partial(make_analysis, request["model"], request["task"], str(output))
    tasks = [Task(path, name_of(path)) for path in request["paths"]]
    return summary_of(work.run(make, tasks))


def preview(work: Work, *, output: Path) -> dict[str, Any]:
    """Make a copy that browsers play; the handler of ``preview``."""
    request = work.job.request
    tasks = [Task(request["video"], request["name"])]
    make = partial(make_previews, str(output), request["stream"])
    return summary_of(work.run(make, tasks))


def summary_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What became of the videos of a job: a note, the errors, and the files.

    Raises:
        VideosFailedError: no video has a result.
    """
    failed = [
        outcome.error or outcome.path for outcome in outcomes if outcome.status == VIDEO_FAILED
    ]
    if failed and len(failed) == len(outcomes):
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise VideosFailedError(failed[0] + more)
    note = f"{plural(len(outcomes) - len(failed), 'video')} done"
    return {
        "note": f"{note}, {len(failed)} failed" if failed else note,
        "failed": failed[:100],
        "files": sorted(name for outcome in outcomes for name in outcome.outputs)[:1000],
    }
