"""The two commands that the faults are tried on, and what they leave behind."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.interposer import Operation, Plan, read_log
from tests.faults.warm import Ended, WarmCommand

BATCH = 8
CHUNK = 32
"""Tokens of a chunk: a minute, in whole batches."""
TOKENS = 150
IN_HAND = 3 * BATCH
"""Frames that may be through the backbone beside the chunk that is being put together."""

KINDS = ("extract", "timeline")


@dataclass(frozen=True, slots=True)
class Left:
    """What a command left behind, timings apart.

    Attributes:
        store: the files of the feature store by name.
        results: the files in the output folder by name.
    """

    store: dict[str, bytes]
    results: dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A video to be read with a model.

    Attributes:
        warm: runs commands.
        video, model: paths.
    """

    warm: WarmCommand
    video: Path
    model: Path
    _whole: dict[str, tuple[Left, list[Operation]]] = field(default_factory=dict)

    @contextmanager
    def place(self, kind: str) -> Iterator[Place]:
        """A fresh cache and output folder."""
        with tempfile.TemporaryDirectory(dir=self.video.parent) as folder:
            yield Place(self, kind, Path(folder))

    def whole(self, kind: str) -> tuple[Left, list[Operation]]:
        """What an uninterrupted run leaves, and all that it did."""
        if kind not in self._whole:
            with self.place(kind) as place:
                ended = place.run()
                assert ended.code == 0, ended
                self._whole[kind] = place.left(), place.log()
        return self._whole[kind]


@dataclass
class Place:
    """One try of one command."""

    work: Work
    kind: str
    folder: Path
    more: tuple[str | Path, ...] = ()

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def arguments(self) -> list[str | Path]:
        work = self.work
        target = ["-o", self.out / "f.safetensors"]
        if self.kind == "timeline":
            target = ["-o", self.out, "-f", "json,csv,srt"]
        settings = ["--fps", "0.5", "--batch-size", str(BATCH), "--backend", "eager"]
        common = ["--cache-dir", self.cache, "--progress", "none", *settings]
        return [self.kind, work.video, "-m", work.model, *target, *common, *self.more]

    def run(self, *, seconds: float | None = None, **fault: Any) -> Ended:
        """The command; a second run of a place resumes.

        Args:
            seconds: when it is killed; None lets it end.
            fault: fields of :class:`Plan`.
        """
        warm, plan = self.work.warm, self._plan(**fault)
        if seconds is not None:
            return warm.run_for(seconds, *self.arguments(), plan=plan)
        return warm.run(*self.arguments(), plan=plan)

    def start(self) -> int:
        """Begin the command; the pid of its process."""
        return self.work.warm.start(*self.arguments(), plan=self._plan())

    def _plan(self, **fault: Any) -> Plan:
        self.out.mkdir(exist_ok=True)
        self._log.unlink(missing_ok=True)
        return Plan((str(self.cache), str(self.out)), str(self._log), **fault)

    @property
    def _log(self) -> Path:
        return self.folder / f"log-{self.kind}"

    def log(self) -> list[Operation]:
        """What the last run did."""
        return read_log(self._log) if self._log.exists() else []

    def frames_encoded(self) -> int:
        """By the last run."""
        return sum(operation.amount for operation in self.log() if operation.what == "encode")

    def chunks(self) -> list[Path]:
        """Those that are published, whole or not."""
        return sorted(self.cache.glob("features/*/*/*.safetensors"))

    def assert_whole(self) -> None:
        """Store and results are those of an uninterrupted run."""
        left, (whole, _) = self.left(), self.work.whole(self.kind)
        assert left.store.keys() == whole.store.keys()
        assert left.store == whole.store
        assert left.results == whole.results

    def left(self) -> Left:
        stores = list(self.cache.glob("features/*/*"))
        assert len(stores) == 1, stores
        files = (path for path in stores[0].iterdir() if path.name != "lock")
        return Left(
            {path.name: path.read_bytes() for path in files},
            {path.name: _result(path) for path in self.out.iterdir() if not _is_stale(path)},
        )


def _is_stale(path: Path) -> bool:
    """What a killed process could not take away from a folder that is not its own."""
    return path.name.startswith(".vtnstream-") and path.suffix == ".tmp"


def _result(path: Path) -> Any:
    """Its bytes; of a report as JSON all but what the run was like."""
    data = path.read_bytes()
    if path.suffix != ".json":
        return data
    report = json.loads(data)
    return json.dumps({key: value for key, value in report.items() if key != "run"})
