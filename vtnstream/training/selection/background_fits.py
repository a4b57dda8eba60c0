"""Make the fits of a comparison, side by side in processes of one thread each."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from types import TracebackType
from typing import Self

from vtnstream import machine
from vtnstream.progress import Progress
from vtnstream.training.forward import device_of
from vtnstream.training.selection.fitting import (
    FittedModel,
    SelectionBase,
    fit_job,
    restored,
)
from vtnstream.training.selection.recipes import Recipe
from vtnstream.training.selection.saved_fits import Job, SavedFit, SavedFits
from vtnstream.types import Features

WORTH_SECONDS = 20.0
"""Processes are started if at least so many seconds of fits are left: each one imports torch."""

_PROCESS_BYTES = 1_200_000_000
"""Memory of a process besides the features that it receives."""


def num_workers(base: SelectionBase, num_jobs: int) -> int:
    """Return how many processes can train side by side.

    It is 1 on a GPU, which is one device, and for features on disk, which are one open store.
    """
    features = [sample.features for sample in base.samples]
    held = sum(f.values.nbytes for f in features if isinstance(f, Features))
    if device_of(base.model).type != "cpu" or not all(isinstance(f, Features) for f in features):
        return 1
    fitting = min(machine.num_cores(), num_jobs)
    memory = machine.memory_bytes()
    if memory is not None:
        fitting = min(fitting, int(memory / 2 / (_PROCESS_BYTES + held)))
    return max(fitting, 1)


class BackgroundFits:
    """Fits that processes make while others are waited for.

    A fit is the same as one made in this process. On exit all fits that were not taken are ended.

    Args:
        base: samples and settings; each process receives a copy.
        recipes: those that are compared.
        jobs: in the order in which they will be taken.
        workers: processes.
        progress: receives the warnings of fits.
    """

    def __init__(
        self,
        base: SelectionBase,
        recipes: Sequence[Recipe],
        jobs: Sequence[Job],
        workers: int,
        progress: Progress,
    ) -> None:
        self.workers = workers
        self._progress = progress
        sent = (base, {recipe.name: recipe for recipe in recipes})
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"), _receive, sent)
        self._futures: dict[Job, Future[tuple[SavedFit, list[str]]]] = {}
        others = set(active_children())
        # Processes inherit the mask: Ctrl-C during their imports would print a traceback.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for job in jobs:
                self._futures[job] = self._pool.submit(_work, job)
        except BrokenProcessPool:
            self._give_up()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._processes = set(active_children()) - others

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.terminate()
        self._pool.shutdown(wait=True)

    def take(self, job: Job) -> SavedFit | None:
        """Wait for a fit and return it; None if no process makes it.

        Raises:
            TrainingError: the fit failed.
        """
        future = self._futures.pop(job, None)
        if future is None:
            return None
        try:
            fit, warnings = future.result()
        except BrokenProcessPool:
            self._give_up()
            return None
        for message in warnings:
            self._progress.warn(message)
        return fit

    def _give_up(self) -> None:
        """Leave all fits to this process.

        A script without an importable ``__main__`` cannot spawn, and a process can be killed for
        its memory.
        """
        self._futures.clear()
        self._progress.warn("recipes cannot be trained in processes side by side: one at a time")


_RECEIVED: list[tuple[SelectionBase, dict[str, Recipe]]] = []
"""What the parent of a process sent when it started."""


def _receive(base: SelectionBase, recipes: dict[str, Recipe]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=_end_with_parent, daemon=True).start()
    _RECEIVED[:] = [(base, recipes)]


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(job: Job) -> tuple[SavedFit, list[str]]:
    base, recipes = _RECEIVED[0]
    warnings: list[str] = []
    return fit_job(base, recipes[job.recipe], job, warnings.append)[1], warnings


@dataclass(slots=True, eq=False)
class Fits:
    """Makes fits: those of an earlier run are read, and processes train others side by side.

    Attributes:
        base: samples and settings.
        recipes: by name.
        saved: stored fits.
        progress: receives warnings.
    """

    base: SelectionBase
    recipes: Mapping[str, Recipe]
    saved: SavedFits
    progress: Progress
    _background: BackgroundFits | None = None

    @property
    def workers(self) -> int:
        """Number of fits that are made at the same time."""
        return self._background.workers if self._background else 1

    def begin(self, what: str, jobs: Sequence[Job]) -> None:
        """Start the display of a number of fits. Those that are made in this run count into the
        rate, the first one too."""
        self.progress.start(what, total=len(jobs), unit="fits")
        if jobs and self.saved.load(jobs[0]) is None:
            self.progress.advance(0)

    @contextmanager
    def ahead(self, jobs: Sequence[Job], seconds: Mapping[str, float]) -> Iterator[None]:
        """Train for jobs in processes while the context lasts, if that is worth their start.

        Args:
            jobs: in the order in which they will be taken.
            seconds: of one fit of each recipe.
        """
        left = [job for job in jobs if self.saved.load(job) is None]
        worth = sum(seconds[job.recipe] for job in left) >= WORTH_SECONDS
        workers = num_workers(self.base, len(left)) if worth else 1
        if workers < 2:
            yield
            return
        recipes = list(self.recipes.values())
        with BackgroundFits(self.base, recipes, left, workers, self.progress) as background:
            self._background = background
            try:
                yield
            finally:
                self._background = None

    def take(self, job: Job) -> tuple[FittedModel, SavedFit]:
        """Return a fit.

        Raises:
            TrainingError: it failed.
            OutputError: it cannot be saved.
        """
        recipe = self.recipes[job.recipe]
        fit = self.saved.load(job)
        if fit is None and self._background is not None:
            fit = self._background.take(job)
            if fit is not None:
                self.saved.save(job, fit)
        if fit is not None:
            return restored(self.base, recipe, job, fit), fit
        fitted, fit = fit_job(self.base, recipe, job, self.progress.warn)
        self.saved.save(job, fit)
        return fitted, fit
