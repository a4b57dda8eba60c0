"""Deliver reports: on the terminal, as JSON, as JSON lines, and as files."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.process_settings import seconds_since_start
from vtnstream.cli.options.input_list import InputList
from vtnstream.cli.result_files import STANDARD_OUTPUT, ResultFiles
from vtnstream.errors import OutputError, UsageError

if TYPE_CHECKING:
    from vtnstream.types import Report

TERMINAL_TOP_K = 5
DEFAULT_FORMATS = ("json",)


class Delivery:
    """Prints reports on the terminal; base class of the other deliveries."""

    def __init__(
        self,
        console: Console,
        inputs: InputList,
        top_k: int | None,
        directory: Path | None,
        files: ResultFiles,
        *,
        classes: bool = True,
        thumbnails: bool | None = False,
    ) -> None:
        self._console = console
        self._inputs = inputs
        self._top_k = top_k
        self._directory = directory
        self._files = files
        self._classes = classes
        self._thumbnails = thumbnails
        self._num_printed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._close(failed=kind is not None)

    def begin(self, path: str) -> None:
        """Check that the result files of ``path`` may be written, before work on it starts.

        Raises:
            OutputError: a file exists already and is not vtnstream's.
        """
        if self._directory is not None:
            everything = [item.path for item in self._inputs.items]
            self._files.check(path, self._directory, inputs=everything)

    def deliver(self, report: Report) -> None:
        """Deliver one report. Files are written first, so that a printed report is also saved.

        Raises:
            OutputError: a file cannot be written, or a named format cannot hold the report.
        """
        if self._inputs.single and "seconds" in report.run:
            taken = round(seconds_since_start(), 3)
            report = dataclasses.replace(report, run={**report.run, "command_seconds": taken})
        if self._top_k is not None:
            report = report.with_best(self._top_k)
        refusal = None
        if self._directory is not None:
            everything = [item.path for item in self._inputs.items]
            refusal = self._files.write(report, self._directory, inputs=everything)
        self._print(report)
        if refusal is not None:
            raise OutputError(refusal)

    def fail(self, path: str, message: str) -> None:
        """Record that ``path`` failed; the error line has been printed already."""

    def absent(self, library: str, labels: Sequence[str]) -> None:
        """Say that no video of a library shows some queries."""
        for label in labels:
            self._console.say(f"{label}: nothing found in library {library}")

    def _close(self, *, failed: bool) -> None:
        """End the output; ``failed`` is true if an exception ended the command."""

    def _print(self, report: Report) -> None:
        from vtnstream.cli.pictures import illustrated
        from vtnstream.report.terminal.render import print_report

        screen = terminal()
        report = illustrated(report, screen, self._console, wanted=self._thumbnails)
        shown = self._top_k or TERMINAL_TOP_K
        if not self._classes:
            report = dataclasses.replace(report, classes=(), heads=())
        with self._console.writing():
            if self._num_printed:
                sys.stdout.write("\n")
            print_report(report, screen, top_k=shown)
        self._num_printed += 1


class _JsonDelivery(Delivery):
    """Prints one document, or an array that is always closed."""

    def fail(self, path: str, message: str) -> None:
        from vtnstream.report.writers.structured import failure_document, json_line

        self._document(json_line(failure_document(path, message)))

    def absent(self, library: str, labels: Sequence[str]) -> None:
        from vtnstream.report.writers.structured import absence_document, json_line

        super().absent(library, labels)
        self._document(json_line(absence_document(library, labels)))

    def _close(self, *, failed: bool) -> None:
        if self._inputs.single or (failed and not self._num_printed):
            return
        self._console.out("]" if self._num_printed else "[]")

    def _print(self, report: Report) -> None:
        from vtnstream.report.writers.structured import report_json

        self._document(report_json(report))

    def _document(self, text: str) -> None:
        lead = "" if self._inputs.single else ",\n" if self._num_printed else "[\n"
        self._num_printed += 1
        self._console.out(lead + text.rstrip("\n"))


class _JsonLinesDelivery(Delivery):
    """Prints one event per line."""

    def begin(self, path: str) -> None:
        self._event("start", path)
        super().begin(path)

    def fail(self, path: str, message: str) -> None:
        self._event("error", path, error=message)

    def absent(self, library: str, labels: Sequence[str]) -> None:
        from vtnstream.report.writers.structured import absence_document, json_line

        super().absent(library, labels)
        document = {"event": "absence", **absence_document(library, labels)}
        self._console.out(json_line(document).rstrip("\n"))

    def _event(self, kind: str, path: str, **fields: Any) -> None:
        from vtnstream.report.writers.structured import event, json_line

        self._console.out(json_line(event(kind, path, **fields)).rstrip("\n"))

    def _print(self, report: Report) -> None:
        from vtnstream.report.writers.structured import json_line, report_events

        for document in report_events(report):
            self._console.out(json_line(document).rstrip("\n"))


class _FormatDelivery(Delivery):
    """Prints the result in the one format of ``--format``."""

    def _print(self, report: Report) -> None:
        self._files.print(report)


def make_delivery(
    values: Mapping[str, Any],
    console: Console,
    inputs: InputList,
    *,
    timeline: bool,
    defaults: tuple[str, ...] = DEFAULT_FORMATS,
    classes: bool = True,
) -> Delivery:
    """Return the delivery that the output options select, as a context manager.

    Without a folder, or with ``-o -``, one format goes to standard output.

    Args:
        values: ``json``, ``jsonl``, ``output_dir``, ``overwrite``, ``format``, ``top_k``, and of
            a search ``thumbnails``.
        console: prints the messages.
        inputs: the inputs of the command line.
        timeline: whether results will have a timeline.
        defaults: formats of the result files without ``--format``.
        classes: print the classes of the whole video on the terminal.

    Raises:
        UsageError: an unknown format or one that needs a timeline, several formats or inputs for
            standard output, or a directory named like a result file.
        MissingExtraError: a format needs a library that is not installed.
    """
    directory, formats = values["output_dir"], values["format"]
    printed = str(directory) == STANDARD_OUTPUT or (directory is None and bool(formats))
    if printed:
        directory, defaults = None, DEFAULT_FORMATS
    files = ResultFiles.of(
        formats or defaults, console, timeline=timeline, overwrite=values["overwrite"]
    )
    if directory is not None and not directory.is_dir():
        _check_folder(directory)
    kind = Delivery
    if printed:
        kind = _printing_one_format(files, inputs, values)
    elif values["json"] or values["jsonl"]:
        kind = _JsonDelivery if values["json"] else _JsonLinesDelivery
    return kind(
        console,
        inputs,
        values["top_k"],
        directory,
        files,
        classes=classes,
        thumbnails=values.get("thumbnails", False),
    )


def _printing_one_format(
    files: ResultFiles, inputs: InputList, values: Mapping[str, Any]
) -> type[Delivery]:
    """Return the delivery that prints the one format of ``files``.

    Raises:
        UsageError: there are several formats, or several inputs for a format of one result.
    """
    files.check_printable()
    name = files.formats[0]
    for flag, same in (("json", "json"), ("jsonl", "jsonl")):
        if values[flag] and name != same:
            raise UsageError(f"--{flag} and -f {name} both print the result: leave one out")
    if name == "json":
        return _JsonDelivery
    if values["jsonl"]:
        return _JsonLinesDelivery
    if name != "jsonl" and not inputs.single:
        raise UsageError(
            f"-f {name} prints the result of one video: name one input, or write files with -o DIR"
        )
    return _FormatDelivery


def _check_folder(directory: Path) -> None:
    """Refuse a new folder that is named like a result file: the user most likely meant a file."""
    from vtnstream.report.formats import every_writer

    for name, writer in every_writer().items():
        if directory.name.endswith(writer.suffix):
            raise UsageError(
                f"-o {directory}: -o takes a folder, and files in it are named after the input: "
                f"write -o DIR -f {name}"
            )


def terminal() -> Any:
    """Make a rich console on standard output that raises an exception on a closed pipe."""
    from rich.console import Console as RichConsole

    class Terminal(RichConsole):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Terminal(file=sys.stdout, highlight=False)
