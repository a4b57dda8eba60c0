"""A batch from its list to its last status line, whatever pool does the work."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from vtnstream.batch.identity import file_identity, unchanged
from vtnstream.batch.manifest import Input, InputList
from vtnstream.batch.naming import settle_names
from vtnstream.batch.shard import Shard
from vtnstream.batch.status import StatusLine, StatusLog, Summary, latest
from vtnstream.batch.storage import Storage
from vtnstream.batch.workers.outcome import FAILED, PASSING, Outcome, Task
from vtnstream.batch.workers.pool import Pool
from vtnstream.config.batch import BatchConfig
from vtnstream.errors import VideoOpenError
from vtnstream.progress import NullProgress, Progress


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be done, and where it is recorded.

    Attributes:
        inputs: the whole list, before it is dealt out.
        suffixes: endings of the files a video gives.
        storage: where they go.
        log: where the status lines go, open.
        shard: the share to work on; None is all.
        config: what is done again, and when to stop.
    """

    inputs: InputList
    suffixes: tuple[str, ...]
    storage: Storage
    log: StatusLog
    shard: Shard | None = None
    config: BatchConfig = field(default_factory=BatchConfig)


Hear = Callable[[StatusLine, Outcome | None], None]
"""Called with every line; without an outcome where an earlier run did the video."""


def run_batch(batch: Batch, pool: Pool, hear: Hear, *, progress: Progress | None = None) -> Summary:
    """Do what is not complete, and record each video as it ends.

    Raises:
        UsageError: the request is wrong whatever the video.
        BatchError: workers do not start.
        OutputError: results cannot be recorded. What was done before any of these stands.
    """
    mine = batch.inputs if batch.shard is None else batch.shard.of(batch.inputs)
    summary = Summary()
    progress = progress or NullProgress()
    facts = {
        "shard": None if batch.shard is None else str(batch.shard),
        "manifest": batch.inputs.digest(),
    }

    def record(outcome: Outcome, key: str | None) -> None:
        line = StatusLine.of(outcome, key=key, **facts)
        batch.log.append(line)
        summary.count(line.status)
        hear(line, outcome)

    for item in mine.items:
        if item.error is not None:
            record(Outcome.failure(item.path, "input", f"{item.path}: {item.error}"), None)
            if batch.config.fail_fast:
                return summary
    items = [item for item in mine.items if item.error is None]
    if not items:
        return summary
    with pool:
        key = pool.start().key
        todo = list(_not_complete(items, key, batch, summary, hear))
        names = settle_names(batch.inputs, batch.suffixes, batch.storage, batch.shard)
        tasks = [Task(item.path, names[item.path]) for item in todo]
        if not tasks:
            return summary
        progress.start("batch", total=len(mine.items), unit="videos")
        try:
            _work(batch, pool, tasks, summary, progress, lambda outcome: record(outcome, key))
        finally:
            progress.finish()
    return summary


def _work(
    batch: Batch,
    pool: Pool,
    tasks: list[Task],
    summary: Summary,
    progress: Progress,
    record: Callable[[Outcome], None],
) -> None:
    def tell(running: float, note: str) -> None:
        failed = f"{summary.num_failed} failed, " if summary.num_failed else ""
        progress.advance(summary.total + running, note=failed + note)

    tell(0.0, f"{len(tasks)} to do")
    # Closed also when recording fails, so that no worker goes on meanwhile.
    with closing(pool.run(tasks, tell)) as outcomes:
        for outcome in outcomes:
            record(_with_identity(outcome))
            tell(0.0, "")
            if outcome.status == FAILED and batch.config.fail_fast:
                return


def _not_complete(
    items: Iterable[Input], key: str, batch: Batch, summary: Summary, hear: Hear
) -> Iterable[Input]:
    """Inputs to do; of the others an earlier run's line is passed on."""
    known = latest(batch.log.lines())
    sizes = batch.storage.sizes() if known else {}
    for item in items:
        line = known.get(item.absolute)
        if line is None or line.key != key or not _stands(line, item, batch, sizes):
            yield item
        else:
            line = replace(line, input=item.path)
            summary.count(line.status, skipped=True)
            hear(line, None)


def _stands(line: StatusLine, item: Input, batch: Batch, sizes: Mapping[str, int]) -> bool:
    """Whether a line of an earlier run with the same settings spares the work; ``sizes`` are
    those of the results that are there."""
    if batch.config.overwrite or not unchanged(item.path, line.file):
        return False
    if line.status == FAILED:
        return not batch.config.retry_failed and line.code not in PASSING
    stored = batch.storage.stored
    return all(sizes.get(stored(name)) == size for name, size in line.outputs.items())


def _with_identity(outcome: Outcome) -> Outcome:
    """A worker that died could not say which file it had before it."""
    if outcome.file is not None or outcome.code not in ("crash", "timeout", "memory"):
        return outcome
    try:
        return replace(outcome, file=file_identity(outcome.path))
    except VideoOpenError:
        return outcome
