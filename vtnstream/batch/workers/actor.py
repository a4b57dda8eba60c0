"""The code of a Ray actor: one executor that processes parts of videos."""

from __future__ import annotations

import os
import pickle
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vtnstream.batch.storage import FolderStorage, Storage, open_storage
from vtnstream.batch.video_ranges import RangeExecutor, RangePlan, fill_range, finish, plan_ranges
from vtnstream.batch.workers.executor import (
    ExecutorInfo,
    MakeExecutor,
    RequestRefused,
    Result,
    attempt,
)
from vtnstream.batch.workers.outcome import Task
from vtnstream.errors import (
    MissingExtraError,
    ModelError,
    UsageError,
    VtnstreamError,
    one_line,
)
from vtnstream.progress import NullProgress, Progress


class VideoActor:
    """The class of the actors. Its methods return errors instead of raising them.

    Args:
        make_executor: pickled function that makes the executor.
        place: location of the results.
        folder: current directory of the parent, for relative paths.
    """

    def __init__(self, make_executor: bytes, place: str, folder: str) -> None:
        with suppress(OSError):  # relative paths then fail
            os.chdir(folder)
        self._problem: dict[str, str] = {}
        try:
            make: MakeExecutor = pickle.loads(make_executor)
            self._storage = open_storage(place)
            self._executor: Any = make()
        except (UsageError, MissingExtraError, ModelError) as error:
            self._problem = {"refused": one_line(error)}
        except Exception as error:
            self._problem = {"broken": one_line(error)}

    def facts(self) -> dict[str, Any]:
        """Return ``facts`` of the executor, or ``refused`` or ``broken`` with the reason."""
        facts: ExecutorInfo
        if self._problem:
            return dict(self._problem)
        facts = self._executor.facts
        return {"facts": facts.as_dict()}

    def plan(self, task: dict[str, str], range_seconds: float) -> dict[str, Any]:
        """Plan the ranges of a video; the plan is empty if the video is not split or cannot be
        opened (:meth:`finish` then reports the error)."""
        try:
            plan = plan_ranges(self._executor, task["path"], self._storage, range_seconds)
        except (VtnstreamError, OSError):
            plan = None
        return {} if plan is None else {"plan": asdict(plan)}

    def fill(self, task: dict[str, str], plan: dict[str, Any], first: int, stop: int) -> None:
        """Compute one range. Errors are ignored; :meth:`finish` meets them again."""
        with suppress(VtnstreamError, OSError):
            fill_range(self._executor, task["path"], _plan(plan), (first, stop), self._storage)

    def finish(self, task: dict[str, str], plan: dict[str, Any] | None) -> dict[str, Any]:
        """Process a video, using its computed ranges: ``outcome``, or ``refused``."""
        given = None if plan is None else _plan(plan)
        with tempfile.TemporaryDirectory(prefix="vtnstream-") as folder:
            work = _StoringExecutor(self._executor, given, self._storage, Path(folder))
            try:
                outcome = attempt(work, Task(**task), NullProgress())
            except RequestRefused as error:
                return {"refused": str(error)}
        return {"outcome": outcome.as_dict()}


class _StoringExecutor:
    """An executor that copies its results to the storage."""

    def __init__(
        self, executor: RangeExecutor, plan: RangePlan | None, storage: Storage, folder: Path
    ) -> None:
        self.facts = executor.facts
        self._executor, self._plan, self._storage = executor, plan, storage
        self._local = isinstance(storage, FolderStorage)
        executor.output = storage.folder if isinstance(storage, FolderStorage) else folder

    def run(self, task: Task, progress: Progress) -> Result:
        if self._plan is None:
            result = self._executor.run(task, progress)
        else:
            result = finish(self._executor, task, self._plan, self._storage, progress)
        if not self._local:
            for file in result.files:
                self._storage.put(result.name_of(file), file)
        return result


def _plan(data: dict[str, Any]) -> RangePlan:
    ranges = tuple((int(first), int(stop)) for first, stop in data["ranges"])
    return RangePlan(**{**data, "ranges": ranges})
