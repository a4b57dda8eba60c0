"""What runs in an actor of a cluster: one warm engine, asked for parts of videos."""

from __future__ import annotations

import os
import pickle
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vtnstream.batch.storage import FolderStorage, Storage, open_storage
from vtnstream.batch.video_ranges import RangeEngine, RangePlan, fill_range, finish, plan_ranges
from vtnstream.batch.workers.executor import EngineFacts, MakeEngine, Refused, Result, attempt
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
    """Made once an actor; its methods never raise, they answer.

    Args:
        make_engine: pickled; makes the engine.
        place: where results go.
        folder: the current directory of the parent, for relative names.
    """

    def __init__(self, make_engine: bytes, place: str, folder: str) -> None:
        with suppress(OSError):  # then absolute names only
            os.chdir(folder)
        self._problem: dict[str, str] = {}
        try:
            make: MakeEngine = pickle.loads(make_engine)
            self._storage = open_storage(place)
            self._engine: Any = make()
        except (UsageError, MissingExtraError, ModelError) as error:
            self._problem = {"refused": one_line(error)}
        except Exception as error:
            self._problem = {"broken": one_line(error)}

    def facts(self) -> dict[str, Any]:
        """Those of the engine, or ``refused`` or ``broken`` with the reason."""
        facts: EngineFacts
        if self._problem:
            return dict(self._problem)
        facts = self._engine.facts
        return {"facts": facts.as_dict()}

    def plan(self, task: dict[str, str], range_seconds: float) -> dict[str, Any]:
        """How to cut a video; without ``plan`` where it is done in one piece, and also where
        it cannot be opened: doing it then tells why."""
        try:
            plan = plan_ranges(self._engine, task["path"], self._storage, range_seconds)
        except (VtnstreamError, OSError):
            plan = None
        return {} if plan is None else {"plan": asdict(plan)}

    def fill(self, task: dict[str, str], plan: dict[str, Any], first: int, stop: int) -> None:
        """Compute one range. What fails is met again by :meth:`finish`."""
        with suppress(VtnstreamError, OSError):
            fill_range(self._engine, task["path"], _plan(plan), (first, stop), self._storage)

    def finish(self, task: dict[str, str], plan: dict[str, Any] | None) -> dict[str, Any]:
        """Do a video, from its ranges where there are some: ``outcome``, or ``refused``."""
        given = None if plan is None else _plan(plan)
        with tempfile.TemporaryDirectory(prefix="vtnstream-") as folder:
            work = _Finishing(self._engine, given, self._storage, Path(folder))
            try:
                outcome = attempt(work, Task(**task), NullProgress())
            except Refused as error:
                return {"refused": str(error)}
        return {"outcome": outcome.as_dict()}


class _Finishing:
    """An engine whose results end up in the storage."""

    def __init__(
        self, engine: RangeEngine, plan: RangePlan | None, storage: Storage, folder: Path
    ) -> None:
        self.facts = engine.facts
        self._engine, self._plan, self._storage = engine, plan, storage
        self._local = isinstance(storage, FolderStorage)
        engine.output = storage.folder if isinstance(storage, FolderStorage) else folder

    def run(self, task: Task, progress: Progress) -> Result:
        if self._plan is None:
            result = self._engine.run(task, progress)
        else:
            result = finish(self._engine, task, self._plan, self._storage, progress)
        if not self._local:
            for file in result.files:
                self._storage.put(file.name, file)
        return result


def _plan(data: dict[str, Any]) -> RangePlan:
    ranges = tuple((int(first), int(stop)) for first, stop in data["ranges"])
    return RangePlan(**{**data, "ranges": ranges})
