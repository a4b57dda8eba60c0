"""Run a batch: skip finished videos, process the rest in a pool, write status lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from vtnstream.batch.identity import file_identity, unchanged
from vtnstream.batch.manifest import Input, InputList
from vtnstream.batch.naming import assign_names
from vtnstream.batch.shard import Shard
from vtnstream.batch.status import StatusLine, StatusLog, Summary, latest
from vtnstream.batch.storage import Storage
from vtnstream.batch.workers.outcome import FAILED, RETRYABLE, Outcome, Task
from vtnstream.batch.workers.pool import Pool
from vtnstream.config.batch import BatchConfig
from vtnstream.errors import VideoOpenError
from vtnstream.progress import NullProgress, Progress


@dataclass(frozen=True, slots=True)
class Batch:
    """The inputs and outputs of a batch.

    Attributes:
        inputs: the whole list of inputs.
        suffixes: suffixes of the files that each video yields.
        storage: location of the results.
        log: log of the status lines, open.
        shard: the share of the inputs to process; None is all.
        config: settings, such as whether to repeat finished videos.
    """

    inputs: InputList
    suffixes: tuple[str, ...]
    storage: Storage
    log: StatusLog
    shard: Shard | None = None
    config: BatchConfig = field(default_factory=BatchConfig)


OnLine = Callable[[StatusLine, Outcome | None], None]
"""Called with every status line, and the outcome or None if an earlier run wrote the line."""


def run_batch(
    batch: Batch, pool: Pool, on_line: OnLine, *, progress: Progress | None = None
) -> Summary:
    """Process all videos that are not complete, and record each as it ends.

    Videos recorded before an exception remain recorded.

    Raises:
        UsageError: the request is wrong for every video.
        BatchError: workers do not start.
        OutputError: results cannot be recorded.
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
        on_line(line, outcome)

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
        todo = list(_not_complete(items, key, batch, summary, on_line))
        names = assign_names(batch.inputs, batch.suffixes, batch.storage, batch.shard)
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
    def on_progress(running: float, note: str) -> None:
        failed = f"{summary.num_failed} failed" if summary.num_failed else ""
        progress.advance(summary.total + running, note=", ".join(filter(None, (failed, note))))

    on_progress(0.0, f"{len(tasks)} to do")
    # Closing stops the workers if recording fails.
    with closing(pool.run(tasks, on_progress)) as outcomes:
        for outcome in outcomes:
            record(_with_identity(outcome))
            on_progress(0.0, "")
            if outcome.status == FAILED and batch.config.fail_fast:
                return


def _not_complete(
    items: Iterable[Input], key: str, batch: Batch, summary: Summary, on_line: OnLine
) -> Iterable[Input]:
    """Yield the inputs to process; report the earlier status line of the others."""
    known = latest(batch.log.lines())
    sizes = batch.storage.sizes() if known else {}
    for item in items:
        line = known.get(item.absolute)
        if line is None or line.key != key or not _is_current(line, item, batch, sizes):
            yield item
        else:
            line = replace(line, input=item.path)
            summary.count(line.status, skipped=True)
            on_line(line, None)


def _is_current(line: StatusLine, item: Input, batch: Batch, sizes: Mapping[str, int]) -> bool:
    """Return whether the line of an earlier run with the same settings is still valid.

    ``sizes`` are the sizes of existing result files.
    """
    if batch.config.overwrite or not unchanged(item.path, line.file):
        return False
    if line.status == FAILED:
        return not batch.config.retry_failed and line.code not in RETRYABLE
    stored = batch.storage.stored
    inner: dict[str, Mapping[str, int]] = {"": sizes}
    for name, size in line.outputs.items():
        folder, _, rest = stored(name).rpartition("/")
        if folder not in inner:
            inner[folder] = batch.storage.sizes(folder)
        if inner[folder].get(rest) != size:
            return False
    return True


def _with_identity(outcome: Outcome) -> Outcome:
    """Add the identity of the file if the worker died before it could report it."""
    if outcome.file is not None or outcome.code not in ("crash", "timeout", "memory"):
        return outcome
    try:
        return replace(outcome, file=file_identity(outcome.path))
    except VideoOpenError:
        return outcome
