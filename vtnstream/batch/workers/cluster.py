"""A pool of Ray actors with one model each. This is the only file that imports ray.

Ray restarts nothing by itself. The pool replaces an actor that dies and repeats its task a limited
number of times, so that a video that crashes actors cannot block the cluster. Features and results
are written to the storage, not sent through Ray.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from vtnstream.batch.workers.actor import VideoActor
from vtnstream.batch.workers.executor import ExecutorInfo, MakeExecutor
from vtnstream.batch.workers.outcome import RETRYABLE, Outcome, Task
from vtnstream.batch.workers.pool import IgnoreMessages, MessageSink, OnProgress
from vtnstream.config.batch import BatchConfig
from vtnstream.errors import BatchError, UsageError
from vtnstream.optional import require

_LOCAL = "local"
_CORES_PER_ACTOR = 2
"""One core for the decoder and one for the model."""

_POLL_SECONDS = 0.2
_REPORT_SECONDS = 0.5
_WAIT_NOTICE_SECONDS = 30.0
_MAX_FAILED_STARTS = 3


@dataclass(eq=False, slots=True)
class _Video:
    """The state of a video."""

    task: Task
    plan: dict[str, Any] | None = None
    num_ranges: int = 0
    num_left: int = 0
    deaths: int = 0
    failures: int = 0
    began: float | None = None
    closed: bool = False

    @property
    def attempts(self) -> int:
        return self.deaths + self.failures + 1


@dataclass(frozen=True, slots=True)
class _Job:
    """One call of an actor for a video: ``plan``, ``fill`` or ``finish``."""

    video: _Video
    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(eq=False, slots=True)
class _Actor:
    """An actor and its current call."""

    handle: Any
    call: Any
    job: _Job | None = None
    ready: bool = False
    began: float = field(default_factory=time.monotonic)


class RayPool:
    """Actors of a Ray cluster (see :class:`vtnstream.batch.workers.pool.Pool`).

    Args:
        make_executor: makes the executor in each actor.
        config: number of actors, timeout, retries and length of ranges.
        place: location of the results, which every machine must reach.
        address: address of the cluster; ``auto`` finds the cluster of this machine, ``local``
            starts one that ends with the batch.
        gpus: whether each actor gets a GPU; None means if the cluster has GPUs.
        threads: CPU cores of each actor.
        messages: receives messages about the actors.
    """

    def __init__(
        self,
        make_executor: MakeExecutor,
        config: BatchConfig,
        *,
        place: str,
        address: str = _LOCAL,
        gpus: bool | None = None,
        threads: int | None = None,
        messages: MessageSink | None = None,
    ) -> None:
        self._config, self._address, self._wants_gpus = config, address, gpus
        self._arguments = (pickle.dumps(make_executor), place, os.getcwd())
        self._cores = threads or _CORES_PER_ACTOR
        self._messages = messages or IgnoreMessages()
        self._facts: ExecutorInfo | None = None
        self._actors: list[_Actor] = []
        self._failed_starts = 0
        self._problem = ""

    def __enter__(self) -> Self:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray = self._ray = require("ray", "ray")
        handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if self._address == _LOCAL:
            options["include_dashboard"] = False
        try:
            # For Ray, "local" means a new cluster, even if another one runs.
            ray.init(address=self._address, **options)
        except Exception as error:  # Ray raises a plain one if a node does not start in time
            reason = " ".join(str(error).split())
            raise UsageError(f"no Ray cluster at {self._address}: {reason}") from error
        finally:
            for number, handler in handlers.items():  # Ray replaces the signal handlers
                with suppress(ValueError):  # not in the main thread
                    signal.signal(number, handler)
        self._measure(ray.cluster_resources())
        return self

    def __exit__(self, *error: object) -> None:
        for actor in self._actors:
            with suppress(Exception):
                self._ray.kill(actor.handle)
        self._actors.clear()
        self._ray.shutdown()

    def _measure(self, resources: dict[str, float]) -> None:
        """Set the number of actors and the resources of each."""
        gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        self._gpus = 1 if (gpus > 0 if self._wants_gpus is None else self._wants_gpus) else 0
        self._cores = max(1, min(self._cores, cores))
        number = gpus if self._gpus else cores // self._cores
        self.num_workers = self._config.workers or max(1, number)

    # ----------------------------------------------------------------------------- the work

    def start(self) -> ExecutorInfo:
        self._add_actor()
        began, warned = time.monotonic(), False
        while self._facts is None:
            self._collect(deque())
            if not warned and time.monotonic() - began > _WAIT_NOTICE_SECONDS:
                warned = True
                wants = f"{self._gpus} GPU and " if self._gpus else ""
                self._messages.warn(f"waiting for {wants}{self._cores} free cores of the cluster")
        return self._facts

    def run(self, tasks: Sequence[Task], on_progress: OnProgress) -> Generator[Outcome, None, None]:
        videos = {task: _Video(task) for task in tasks}
        jobs = deque(
            _Job(video, "plan", (self._config.range_seconds,)) for video in videos.values()
        )
        reported = 0.0
        while jobs or any(actor.job for actor in self._actors):
            self._assign(jobs)
            yield from self._collect(jobs)
            # Counting thousands of videos after each answer would take quadratic time.
            if time.monotonic() - reported >= _REPORT_SECONDS:
                reported = time.monotonic()
                self._report_progress(videos, on_progress)

    def _report_progress(self, videos: dict[Task, _Video], on_progress: OnProgress) -> None:
        cut = [v for v in videos.values() if v.num_ranges and not v.closed]
        share = sum(1 - v.num_left / v.num_ranges for v in cut)
        busy = sum(actor.job is not None for actor in self._actors)
        on_progress(share, f"{busy} of {len(self._actors)} actors busy")

    def _assign(self, jobs: deque[_Job]) -> None:
        for actor in self._actors:
            while jobs and jobs[0].video.closed:
                jobs.popleft()
            if jobs and actor.ready and actor.job is None:
                job = actor.job = jobs.popleft()
                actor.began = time.monotonic()
                if job.video.began is None:
                    job.video.began = actor.began
                method = getattr(actor.handle, job.method)
                actor.call = method.remote(asdict(job.video.task), *job.arguments)
        free = sum(actor.job is None for actor in self._actors)
        while free < len(jobs) and len(self._actors) < self.num_workers:
            self._add_actor()
            free += 1

    def _add_actor(self) -> None:
        made = self._ray.remote(VideoActor).options(
            num_cpus=self._cores,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": {"OMP_NUM_THREADS": str(self._cores)}},
        )
        handle = made.remote(*self._arguments)
        self._actors.append(_Actor(handle, handle.facts.remote()))

    def _collect(self, jobs: deque[_Job]) -> list[Outcome]:
        """Handle the answers that have arrived; return the outcomes."""
        calls = {a.call: a for a in self._actors if a.job is not None or not a.ready}
        outcomes: list[Outcome | None] = []
        done, _ = self._ray.wait(list(calls), timeout=_POLL_SECONDS) if calls else ([], [])
        for call in done:
            actor = calls[call]
            job, actor.job = actor.job, None
            try:
                answer = self._ray.get(call)
            except self._ray.exceptions.RayError as error:
                self._remove(actor)
                outcomes.append(self._died(job, error, jobs))
                continue
            if job is None:
                self._ready(actor, answer)
            else:
                outcomes.append(self._answered(job, answer, jobs))
        outcomes += [
            self._timed_out(actor) for actor in tuple(self._actors) if self._is_overdue(actor)
        ]
        return [outcome for outcome in outcomes if outcome is not None]

    # ----------------------------------------------------------------------------- answers

    def _ready(self, actor: _Actor, answer: dict[str, Any]) -> None:
        if "facts" not in answer:
            if self._facts is None and "refused" in answer:
                raise UsageError(answer["refused"])
            self._problem = next(iter(answer.values()))
            self._remove(actor)
            self._failed_start()
            return
        facts = ExecutorInfo.from_dict(answer["facts"])
        if self._facts is None:
            self._facts = facts
            self._messages.note(f"{facts.about}, {self.num_workers} actors of {self._cores} cores")
            for warning in facts.warnings:
                self._messages.warn(warning)
        elif facts.key != self._facts.key:
            raise BatchError("an actor has a different model or weights: run the batch again")
        actor.ready, self._failed_starts = True, 0

    def _failed_start(self) -> None:
        self._failed_starts += 1
        if self._facts is None or self._failed_starts >= _MAX_FAILED_STARTS:
            raise BatchError(f"actors do not start: {self._problem}")

    def _answered(self, job: _Job, answer: Any, jobs: deque[_Job]) -> Outcome | None:
        video = job.video
        if video.closed:
            return None
        if job.method == "plan":
            video.plan = answer.get("plan")
            ranges = video.plan["ranges"] if video.plan else ()
            video.num_ranges = video.num_left = len(ranges)
            # Put ranges first, so that started videos are finished before others are started.
            jobs.extendleft(
                _Job(video, "fill", (video.plan, first, stop)) for first, stop in reversed(ranges)
            )
        elif job.method == "fill":
            video.num_left -= 1
        else:
            return self._finished(video, answer, jobs)
        if not video.num_left:
            jobs.appendleft(_Job(video, "finish", (video.plan,)))
        return None

    def _finished(self, video: _Video, answer: dict[str, Any], jobs: deque[_Job]) -> Outcome | None:
        if "refused" in answer:
            raise UsageError(answer["refused"])
        outcome = Outcome.from_dict(answer["outcome"])
        if outcome.code in RETRYABLE and video.failures < self._config.retries:
            video.failures += 1
            jobs.append(_Job(video, "finish", (video.plan,)))
            return None
        return self._close(video, outcome)

    def _died(self, job: _Job | None, error: Exception, jobs: deque[_Job]) -> Outcome | None:
        """Handle the death of an actor."""
        reason = " ".join(str(error).split())
        self._messages.debug(str(error))
        if job is None:
            self._problem = reason
            self._failed_start()
            return None
        if job.video.closed:
            return None
        if job.video.deaths < self._config.retries:
            job.video.deaths += 1
            jobs.append(job)
            return None
        name = type(error).__name__
        return self._fail(job.video, "crash", f"its actor died ({name})")

    def _is_overdue(self, actor: _Actor) -> bool:
        limit = self._config.timeout
        return (
            limit is not None and actor.job is not None and time.monotonic() - actor.began > limit
        )

    def _timed_out(self, actor: _Actor) -> Outcome | None:
        job = actor.job
        self._ray.kill(actor.handle)
        self._remove(actor)
        if job is None or job.video.closed:
            return None
        return self._fail(job.video, "timeout", "stopped (--timeout)")

    def _remove(self, actor: _Actor) -> None:
        self._actors.remove(actor)
        with suppress(Exception):
            self._ray.kill(actor.handle)

    def _fail(self, video: _Video, code: str, message: str) -> Outcome:
        path = video.task.path
        return self._close(video, Outcome.failure(path, code, f"{path}: {message}"))

    def _close(self, video: _Video, outcome: Outcome) -> Outcome:
        video.closed = True
        seconds = time.monotonic() - (video.began or time.monotonic())
        return replace(outcome, attempts=video.attempts, seconds=seconds)
