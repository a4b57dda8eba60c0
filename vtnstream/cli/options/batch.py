"""Options of the commands of ``vtnstream batch``, and the code that runs all of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vtnstream.batch.run import Batch, run_batch
from vtnstream.batch.shard import parse_shard
from vtnstream.batch.status import StatusLine, Summary, open_log
from vtnstream.batch.storage import FolderStorage, Storage, open_storage
from vtnstream.batch.workers.executors import AnalysisExecutor, ExtractExecutor, Part
from vtnstream.batch.workers.local import LocalPool
from vtnstream.batch.workers.outcome import FAILED, PARTIAL, Outcome
from vtnstream.cli.analysis import request_from
from vtnstream.cli.framework.command import COMPLETE_VIDEOS, Command
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.fields import field, option
from vtnstream.cli.framework.process_settings import keep_freed_memory
from vtnstream.cli.framework.progress import make_progress
from vtnstream.cli.framework.types import SecondsType, SizeType
from vtnstream.cli.options import running
from vtnstream.cli.options.backbone import prepare_encoding
from vtnstream.cli.options.input_list import resolve
from vtnstream.config import RuntimeConfig, TimelineConfig
from vtnstream.config.batch import BatchConfig
from vtnstream.errors import UsageError
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.batch.workers.executor import MakeExecutor
    from vtnstream.batch.workers.pool import Pool

_REPLACED = ("features", "json", "jsonl", "output_dir", "output", "overwrite", "threads")
"""Options of the single-video commands that batch commands omit or define differently."""

_REFUSED = {
    "follow": "follows one stream: use vtnstream timeline --follow",
    "labels": "is not for batches: use vtnstream timeline or classify --labels, which take several "
    "inputs too",
}
"""Options of the single-video commands that batch commands refuse -> why."""

_WITH_REFUSED = ("keep", "follow_timeout", "multi_label")
"""Options that have no effect without those of :data:`_REFUSED`."""

_OF_LABELS = ("backbone", "backbone_arg", "weights", "pretrained")
"""Options that have no effect without ``--labels``, where a command has it."""

_SECTION = "Batch"
_OPTIONS = (
    option(
        "--output-dir",
        "-o",
        section="Output",
        required=True,
        metavar="OUT",
        help="Write the results and status.jsonl here.",
    ),
    option("--jsonl", section="Output", is_flag=True, help="Also print the status lines."),
    field(
        BatchConfig,
        "workers",
        section=_SECTION,
        help="Parallel processes [default: one per GPU, else one per two cores].",
    ),
    field(
        BatchConfig,
        "timeout",
        section=_SECTION,
        type=SecondsType(),
        metavar="TIME",
        help="Stop a video that takes longer: 90, 1:30:00.",
    ),
    field(
        BatchConfig,
        "memory_limit_bytes",
        "--memory-limit",
        section=_SECTION,
        type=SizeType(),
        metavar="SIZE",
        help="Stop a worker that uses more [default: its share of the machine].",
    ),
    field(BatchConfig, "recycle", section=_SECTION, help="Videos per worker process."),
    field(BatchConfig, "retries", section=_SECTION, help="Further attempts after a crash."),
    field(BatchConfig, "retry_failed", section=_SECTION, help="Repeat videos that failed before."),
    field(BatchConfig, "overwrite", section=_SECTION, help="Repeat videos that are complete."),
    field(BatchConfig, "fail_fast", section=_SECTION, help="Stop at the first failure."),
    option(
        "--ray",
        section=_SECTION,
        metavar="ADDRESS",
        help="Run on a Ray cluster: its address, auto, or local to start one here.",
    ),
    field(
        BatchConfig,
        "range_seconds",
        section=_SECTION,
        help="With --ray: length of the parts that videos are split into.",
    ),
    option(
        "--shard",
        section=_SECTION,
        settable=False,
        metavar="I/N",
        help="Process the I-th of N shares of INPUTS: auto in Slurm arrays, auto/N in indexed "
        "jobs.",
    ),
    field(
        RuntimeConfig,
        "threads",
        section="Run",
        help="CPU threads of each worker [default: cores / workers].",
    ),
)


def batch_command(
    group: click.Group, single: click.Command, examples: str
) -> Callable[[Any], Command]:
    """Return a decorator that adds a command to ``group`` with the options of ``single`` and the
    batch options.

    A new option of ``single`` thereby becomes one of the batch command.
    """

    def decorate(function: Any) -> Command:
        left_out = {*_REPLACED, *_WITH_REFUSED, *_REFUSED}
        if any(param.name == "labels" for param in single.params):
            left_out |= {*_OF_LABELS}
        params = [param for param in single.params if param.name not in left_out]
        params += [_refused(param) for param in single.params if param.name in _REFUSED]
        command = Command(
            single.name,
            callback=click.pass_obj(function),
            params=[*params, *_OPTIONS],
            help=function.__doc__,
            examples=examples,
        )
        group.add_command(command)
        return command

    return decorate


def _refused(param: click.Parameter) -> click.Option:
    """Return a hidden option that says why a batch does not take it."""

    def refuse(ctx: click.Context, param: click.Parameter, value: Any) -> None:
        if value:
            raise UsageError(f"{param.opts[0]} {_REFUSED[param.name or '']}")

    assert isinstance(param, click.Option)
    return option(
        param.opts[0],
        section=_SECTION,
        settable=False,
        hidden=True,
        is_flag=param.is_flag,
        expose_value=False,
        callback=refuse,
    )


def _config_from(values: Mapping[str, Any]) -> BatchConfig:
    """Return the batch options as their dataclass."""
    return BatchConfig(
        workers=values["workers"],
        timeout=values["timeout"],
        memory_limit_bytes=values["memory_limit"],
        recycle=values["recycle"],
        retries=values["retries"],
        retry_failed=values["retry_failed"],
        overwrite=values["overwrite"],
        fail_fast=values["fail_fast"],
        range_seconds=values["range_seconds"],
    )


# ------------------------------------------------------------------------- in the worker


def make_analysis_executor(
    values: Mapping[str, Any],
    localize: TimelineConfig | None,
    formats: tuple[str, ...],
    every: bool,
) -> AnalysisExecutor:
    """Build the executor of ``batch classify`` and ``batch timeline`` in a worker."""
    keep_freed_memory()
    return AnalysisExecutor(
        values["model"],
        request_from(values),
        localize,
        formats=formats,
        every=every,
        top_k=values["top_k"],
        runtime=running.runtime_from(values),
        output=Path(values["output_dir"]),
    )


def make_extract_executor(values: Mapping[str, Any]) -> ExtractExecutor:
    """Build the executor of ``batch extract`` in a worker."""
    keep_freed_memory()
    notes = _Notes()
    encoding = prepare_encoding(values, notes)
    return ExtractExecutor(
        encoding.encoder,
        encoding.sampling,
        part=Part(values["start"], values["end"], values["stream"]),
        runtime=running.runtime_from(values),
        output=Path(values["output_dir"]),
        warnings=notes.warnings,
    )


class _Notes(Console):
    """A console that keeps warnings instead of printing them."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


# ------------------------------------------------------------------------- in the parent


def run(
    console: Console, values: dict[str, Any], make_executor: MakeExecutor, suffixes: tuple[str, ...]
) -> ExitCode:
    """Process the inputs and print the outcome of each.

    Args:
        console: prints the messages.
        values: the command's options.
        make_executor: makes the executor in each worker.
        suffixes: suffixes of the files that each video yields.
    """
    config = _config_from(values)
    inputs = resolve(values, files_only=True)
    shard = None if values["shard"] is None else parse_shard(values["shard"])
    storage = open_storage(values["output_dir"])
    num_videos = len((inputs if shard is None else shard.of(inputs)).items)
    reporter = _Reporter(console, num_videos, lines=values["jsonl"])
    pool = _pool(values, make_executor, config, storage, reporter)
    progress = make_progress(console)
    with open_log(storage, shard) as log:
        batch = Batch(inputs, suffixes, storage, log, shard, config)
        try:
            summary = run_batch(batch, pool, reporter.on_line, progress=progress)
        finally:
            progress.close()
    reporter.conclude(summary)
    return exit_code(summary)


def _pool(
    values: Mapping[str, Any],
    make_executor: MakeExecutor,
    config: BatchConfig,
    storage: Storage,
    reporter: _Reporter,
) -> Pool:
    if values["ray"] is None:
        if not isinstance(storage, FolderStorage):
            raise UsageError(
                f"{storage.place}: only --ray writes to object storage: name a local folder with -o"
            )
        threads = values["threads"] or _threads_of_environment()
        return LocalPool(make_executor, config, threads=threads, messages=reporter)
    from vtnstream.batch.workers.cluster import RayPool

    place = os.path.abspath(storage.folder) if isinstance(storage, FolderStorage) else storage.place
    device = values["device"]
    return RayPool(
        make_executor,
        config,
        place=place,
        address=values["ray"],
        gpus=None if device == "auto" else device.startswith("cuda"),
        threads=values["threads"],
        messages=reporter,
    )


def exit_code(summary: Summary) -> ExitCode:
    """Return 0 if all videos are done, 1 if some failed, 3 if some are partial.

    Earlier runs count too.
    """
    if summary.num_failed:
        return ExitCode.FAILED
    return ExitCode.PARTIAL if summary.num_partial else ExitCode.OK


def _threads_of_environment() -> int | None:
    text = os.environ.get("OMP_NUM_THREADS", "")
    return int(text) if text.isdigit() and int(text) else None


class _Reporter:
    """Prints the outcome of each video, and keeps what an interrupt says."""

    def __init__(self, console: Console, num_videos: int, *, lines: bool) -> None:
        self._console = console
        self._lines = lines
        self._num_videos, self._num_complete = num_videos, 0
        self._num_failed_before = 0
        self._interrupted = console.interrupted
        self._count(0)

    def _count(self, complete: int) -> None:
        self._num_complete += complete
        done = f"{self._num_complete} of {plural(self._num_videos, 'video')} complete"
        self._console.interrupted = self._interrupted.replace(COMPLETE_VIDEOS, done)

    def on_line(self, line: StatusLine, outcome: Outcome | None) -> None:
        self._count(line.status != FAILED)
        if outcome is None:
            self._num_failed_before += line.status == FAILED
        else:
            self._print_outcome(line, outcome)
        if self._lines:
            self._console.out(line.as_json(skipped=outcome is None))

    def _print_outcome(self, line: StatusLine, outcome: Outcome) -> None:
        for warning in outcome.warnings:
            self._console.warn(f"{line.input}: {warning}")
        if line.error is not None:
            self.debug(outcome.traceback or "")
            self._console.error(line.error)
        elif line.status == PARTIAL and line.partial is not None:
            reasons = "; ".join(line.partial["reasons"])
            self._console.warn(f"{line.input}: partial result: {reasons}")
        else:
            self._console.note(f"{line.input}: done in {line.seconds:.1f} s")

    def warn(self, message: str) -> None:
        self._console.warn(message)

    def note(self, message: str) -> None:
        self._console.note(message)

    def debug(self, text: str) -> None:
        if self._console.debug:
            for row in text.splitlines():
                self._console.note(row, level=-1)

    def conclude(self, summary: Summary) -> None:
        self._console.say(summary.describe())
        if self._num_failed_before:
            self._console.say(
                f"{self._num_failed_before} of them failed in an earlier run: repeat them with "
                "--retry-failed"
            )
