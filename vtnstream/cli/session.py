"""Process all inputs of a command: one error line for each that fails, one exit code for all."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vtnstream.cli.framework.console import Console, StandardOutputError
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.failures import is_closed_pipe, message_for
from vtnstream.cli.framework.interrupts import INTERRUPTS
from vtnstream.cli.framework.process_settings import keep_freed_memory, seconds_since_start
from vtnstream.cli.framework.progress import CommandProgress, make_progress
from vtnstream.cli.options.input_list import Input, InputList
from vtnstream.errors import concerns_all
from vtnstream.timecode import format_time
from vtnstream.wording import plural

if TYPE_CHECKING:
    from vtnstream.cli.delivery import Delivery
    from vtnstream.types import Partial, Report

Work = Callable[[str, CommandProgress], "Partial | None"]
"""Processes one video; returns why its result is partial, or None."""


@dataclass(slots=True)
class _Tally:
    """Counts the inputs by outcome."""

    num_done: int = 0
    num_partial: int = 0
    num_failed: int = 0

    @property
    def exit_code(self) -> ExitCode:
        if self.num_failed:
            return ExitCode.FAILED
        return ExitCode.PARTIAL if self.num_partial else ExitCode.OK

    def summary(self) -> str:
        """Format the counts: ``5 videos: 3 done, 1 partial, 1 failed``."""
        whole = self.num_done - self.num_partial
        parts = {"done": whole, "partial": self.num_partial, "failed": self.num_failed}
        counts = ", ".join(f"{count} {what}" for what, count in parts.items() if count)
        return f"{plural(self.num_done + self.num_failed, 'video')}: {counts}"


def deliver_each(
    inputs: InputList,
    ask: Callable[[str, CommandProgress], Report],
    delivery: Delivery,
    console: Console,
) -> ExitCode:
    """Ask about every input, warn of what its report warns of, and deliver the report."""

    def work(path: str, progress: CommandProgress) -> Partial | None:
        delivery.begin(path)
        report = ask(path, progress)
        for warning in report.warnings:
            console.warn(f"{path}: {warning}")
        delivery.deliver(report)
        return report.partial

    with delivery:
        return for_each(inputs, work, console, on_failure=delivery.fail)


def for_each(
    inputs: InputList,
    work: Work,
    console: Console,
    *,
    on_failure: Callable[[str, str], None] | None = None,
) -> ExitCode:
    """Call ``work`` for every input; a failure does not stop the others.

    Args:
        inputs: the inputs of the command line.
        work: called with a path and a progress display.
        console: prints the errors.
        on_failure: called with (path, message) after each failure.
    """
    tally = _Tally()
    keep_freed_memory()
    progress = make_progress(console)
    try:
        for number, item in enumerate(inputs.items, 1):
            if len(inputs.items) > 1:
                progress.prefix = f"[{number}/{len(inputs.items)}] "
            message = _attempt(item, work, progress, console, tally)
            if message is not None and on_failure is not None:
                on_failure(item.path, message)
            gc.collect()  # decoders hold reference cycles, which would fill memory over many files
    finally:
        progress.close()
    if len(inputs.items) > 1:
        console.say(f"{tally.summary()}, in {_duration(seconds_since_start())}")
    return tally.exit_code


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else format_time(seconds, digits=0)


def _attempt(
    item: Input, work: Work, progress: CommandProgress, console: Console, tally: _Tally
) -> str | None:
    """Process one input; return the error message, or None on success."""
    if item.error is not None:
        tally.num_failed += 1
        message = f"{item.path}: {item.error}"
        console.error(message)
        return message
    try:
        partial = work(item.path, progress)
    except Exception as error:
        progress.close()
        if _ends_command(error, item.path):
            raise
        tally.num_failed += 1
        message = message_for(item.path, error)
        console.traceback(error)
        console.error(message)
        return message
    tally.num_done += 1
    if partial is not None:
        tally.num_partial += 1
        console.warn(f"{item.path}: partial result: {'; '.join(partial.reasons)}")
    return None


def _ends_command(error: Exception, path: str) -> bool:
    """Return whether ``error`` ends the command rather than this input.

    This is so for an interrupt, a closed pipe, or a request that is wrong for every input (its
    message does not name this one).
    """
    if INTERRUPTS.caused(error) or is_closed_pipe(error):
        return True
    if isinstance(error, StandardOutputError):
        return True
    return concerns_all(error, path)
