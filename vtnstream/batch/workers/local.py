"""A pool of worker processes on this machine. If a worker crashes, hangs or uses too much memory,
its video fails and the worker is replaced.

A worker may process several small videos at the same time. If it dies, nobody knows which of them
was the cause, so that each is repeated alone, and only then counts as failed.
"""

from __future__ import annotations

import os
import queue
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from vtnstream import machine
from vtnstream.batch.identity import is_small
from vtnstream.batch.workers.executor import ExecutorInfo, MakeExecutor
from vtnstream.batch.workers.outcome import Outcome, Task
from vtnstream.batch.workers.pool import IgnoreMessages, MessageSink, OnProgress
from vtnstream.batch.workers.process import STOP_SIGNALS, Event, Running, WorkerProcess
from vtnstream.config.batch import BatchConfig
from vtnstream.errors import BatchError, UsageError
from vtnstream.wording import plural

_WORKER_BYTES = 3 * 2**30
"""Expected memory of a worker with torch and a model; limits the default number of workers."""

_MEMORY_SHARE = 0.9
"""Share of the machine's memory for all workers together."""

_POLL_SECONDS = 0.1
_REPORT_SECONDS = 0.5
_MAX_FAILED_STARTS = 3
_MAX_STOPS = 3
"""Number of times that a worker stopped by a signal does not count as a crash of its video."""


@dataclass(slots=True)
class _Attempts:
    """The failed attempts at one video."""

    crashes: int = 0
    stops: int = 0
    seconds: float = 0.0

    @property
    def count(self) -> int:
        return self.crashes + self.stops + 1


class LocalPool:
    """Worker processes of this machine (see :class:`vtnstream.batch.workers.pool.Pool`).

    Args:
        make_executor: makes the executor in each worker.
        config: number of workers, and their limits.
        threads: CPU threads of each worker; None is the cores divided by the workers.
        messages: receives messages about the workers.
    """

    def __init__(
        self,
        make_executor: MakeExecutor,
        config: BatchConfig,
        *,
        threads: int | None = None,
        messages: MessageSink | None = None,
    ) -> None:
        self._make_executor = make_executor
        self._config = config
        self._messages = messages or IgnoreMessages()
        self.num_workers = config.workers or _num_workers()
        self.threads = threads or max(1, machine.num_cores() // self.num_workers)
        self._facts: ExecutorInfo | None = None
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._workers: list[WorkerProcess] = []
        self._attempts: dict[Task, _Attempts] = {}
        self._alone: set[Task] = set()
        self._num_started = 0
        self._failed_starts = 0

    def __enter__(self) -> Self:
        self._scratch = Path(tempfile.mkdtemp(prefix="vtnstream-batch-"))
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.reap()
        self._workers.clear()
        shutil.rmtree(self._scratch, ignore_errors=True)

    @property
    def memory_limit(self) -> int | None:
        """Bytes of memory that a worker may use, or None without a limit."""
        if self._config.memory_limit_bytes is not None:
            return self._config.memory_limit_bytes
        total = machine.memory_bytes()
        return None if total is None else int(total * _MEMORY_SHARE / self.num_workers)

    def start(self) -> ExecutorInfo:
        self._add_worker()
        while self._facts is None:
            self._handle(self._next_event(), deque())
            tuple(self._watch(deque()))
        if self._config.workers is None and self._facts.device.startswith("cuda"):
            self.num_workers = 1 if ":" in self._facts.device else self._facts.num_devices
        return self._facts

    def run(self, tasks: Sequence[Task], on_progress: OnProgress) -> Generator[Outcome, None, None]:
        waiting = deque(tasks)
        last_report = 0.0
        while waiting or any(worker.running for worker in self._workers):
            self._assign(waiting)
            for outcome in (self._handle(self._next_event(), waiting), *self._watch(waiting)):
                if outcome is not None:
                    yield outcome
            if time.monotonic() - last_report >= _REPORT_SECONDS:
                last_report = time.monotonic()
                on_progress(*self._state())

    # ---------------------------------------------------------------------------- workers

    def _assign(self, waiting: deque[Task]) -> None:
        for worker in self._workers:
            while waiting and self._has_room(worker, waiting[0]):
                worker.assign(waiting.popleft())
        free = sum(not worker.running for worker in self._workers)
        while free < len(waiting) and len(self._workers) < self.num_workers:
            self._add_worker()
            free += 1

    def _has_room(self, worker: WorkerProcess, task: Task) -> bool:
        if not worker.ready or worker.num_done + len(worker.running) >= self._config.recycle:
            return False
        if not worker.running:
            return True
        most = self._facts.side_by_side if self._facts else 1
        beside = (task, *(running.task for running in worker.running.values()))
        return len(worker.running) < most and all(map(self._may_have_company, beside))

    def _may_have_company(self, task: Task) -> bool:
        """Return whether a video may be processed beside others in one worker."""
        return task not in self._alone and is_small(task.path)

    def _add_worker(self) -> None:
        taken = {worker.slot for worker in self._workers}
        slot = next(i for i in range(self.num_workers) if i not in taken)
        self._num_started += 1
        worker = WorkerProcess(
            self._make_executor,
            slot=slot,
            environment=self._environment(slot),
            scratch=self._scratch / f"worker-{self._num_started}",
            events=self._events,
        )
        self._workers.append(worker)

    def _environment(self, slot: int) -> dict[str, str]:
        variables = {"OMP_NUM_THREADS": str(self.threads)}
        if self._facts is not None and self._facts.device == "cuda":
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            devices = visible.split(",") if visible else range(self._facts.num_devices)
            variables["CUDA_VISIBLE_DEVICES"] = str(devices[slot % len(devices)])
        return variables

    def _remove(self, worker: WorkerProcess, *, dead: bool = False) -> str:
        """Stop a worker and remove its files; return how it ended."""
        self._workers.remove(worker)
        if not dead:
            worker.end()
        how = worker.reap()
        shutil.rmtree(worker.scratch, ignore_errors=True)
        return how

    # ----------------------------------------------------------------------------- events

    def _next_event(self) -> Event | None:
        try:
            return self._events.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            return None

    def _handle(self, event: Event | None, waiting: deque[Task]) -> Outcome | None:
        if event is None or event.worker not in self._workers:
            return None
        worker, fields = event.worker, event.fields
        match event.kind:
            case "ready":
                self._ready(worker, ExecutorInfo.from_dict(fields))
            case "progress" if fields["path"] in worker.running:
                worker.running[fields["path"]].share = fields["share"]
            case "warning":
                self._messages.warn(fields["message"])
            case "refused" if worker.ready or self._facts is None:
                raise UsageError(fields["error"])
            case "refused" | "broken":
                worker.problem = fields["error"]
            case "outcome":
                return self._finished(worker, fields["outcome"])
            case "ended":
                return self._died(worker, waiting)
        return None

    def _ready(self, worker: WorkerProcess, facts: ExecutorInfo) -> None:
        if self._facts is None:
            self._facts = facts
            self._messages.note(facts.about)
            for warning in facts.warnings:
                self._messages.warn(warning)
        elif facts.key != self._facts.key:
            raise BatchError("the model or its weights changed during the batch: run it again")
        worker.ready, self._failed_starts = True, 0

    def _finished(self, worker: WorkerProcess, data: dict[str, Any]) -> Outcome:
        outcome = Outcome.from_dict(data)
        task = worker.finish(outcome.path)
        self._alone.discard(task)
        if worker.num_done >= self._config.recycle and not worker.running:
            self._remove(worker)
        before = self._attempts.pop(task, None)
        if before is None:
            return outcome
        seconds = before.seconds + outcome.seconds
        return replace(outcome, seconds=seconds, attempts=before.count)

    def _died(self, worker: WorkerProcess, waiting: deque[Task]) -> Outcome | None:
        """Handle a worker that ended unexpectedly."""
        running, words = list(worker.running.values()), worker.stderr_tail()
        how = self._remove(worker, dead=True)
        self._messages.debug(words)
        if len(running) > 1:
            self._repeat_alone(running, waiting)
            return None
        if not running:
            self._failed_starts += not worker.ready
            if self._failed_starts >= _MAX_FAILED_STARTS or self._facts is None:
                problem = worker.problem or f"one {how} (see --debug)"
                raise BatchError(f"workers do not start: {problem}")
            return None
        task = running[0].task
        attempts = self._attempts.setdefault(task, _Attempts())
        attempts.seconds += running[0].seconds
        if worker.returncode is not None and -worker.returncode in STOP_SIGNALS:
            if attempts.stops < _MAX_STOPS:
                attempts.stops += 1
                waiting.appendleft(task)
                return None
        elif attempts.crashes < self._config.retries:
            attempts.crashes += 1
            waiting.append(task)  # last, when the machine may have more free memory
            return None
        return self._failed(task, "crash", f"its worker {how}")

    def _repeat_alone(self, running: Sequence[Running], waiting: deque[Task]) -> None:
        """Process each of these videos next, alone in a worker."""
        tasks = [each.task for each in running]
        self._alone.update(tasks)
        waiting.extendleft(reversed(tasks))

    def _watch(self, waiting: deque[Task]) -> Iterator[Outcome]:
        """Stop workers that exceed the time or memory limit."""
        for worker in tuple(self._workers):
            held, limit = worker.memory(), self.memory_limit
            is_large = held is not None and limit is not None and held > limit
            running = list(worker.running.values())
            if len(running) > 1 and (is_large or any(map(self._is_overdue, running))):
                self._remove(worker)
                self._repeat_alone(running, waiting)
            elif is_large:
                assert held is not None and limit is not None
                yield self._too_large(worker, held, limit)
            elif running and self._is_overdue(running[0]):
                seconds = running[0].seconds
                self._remove(worker)
                message = f"stopped after {seconds:.0f} s (--timeout)"
                yield self._failed(running[0].task, "timeout", message, seconds)

    def _is_overdue(self, running: Running) -> bool:
        return self._config.timeout is not None and running.seconds > self._config.timeout

    def _too_large(self, worker: WorkerProcess, held: int, limit: int) -> Outcome:
        running = next(iter(worker.running.values()), None)
        self._remove(worker)
        size = f"at {held / 2**20:,.0f} MB of memory, the limit is {limit / 2**20:,.0f} MB"
        if running is None:
            raise BatchError(f"a worker was stopped at start {size}: raise --memory-limit")
        message = f"stopped {size} (--memory-limit)"
        return self._failed(running.task, "memory", message, running.seconds)

    def _failed(self, task: Task, code: str, message: str, seconds: float = 0.0) -> Outcome:
        before = self._attempts.pop(task, _Attempts())
        self._alone.discard(task)
        return Outcome.failure(
            task.path,
            code,
            f"{task.path}: {message}",
            seconds=before.seconds + seconds,
            attempts=before.count,
        )

    def _state(self) -> tuple[float, str]:
        busy = [worker.running.values() for worker in self._workers if worker.running]
        share = sum(running.share for each in busy for running in each)
        return share, f"{plural(len(busy), 'worker')} busy"


def _num_workers() -> int:
    """Return the number of workers: one per two cores (one core for the decoder, one for the
    model), limited by memory."""
    memory = machine.memory_bytes()
    by_memory = machine.num_cores() if memory is None else memory // _WORKER_BYTES
    return max(1, min(machine.num_cores() // 2, by_memory))
