"""Where reports go: a terminal, JSON, JSON lines, files."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vtnstream.cli.console import Console
from vtnstream.errors import UsageError
from vtnstream.types import Report

TERMINAL_TOP_K = 5
DEFAULT_FORMATS = ("json",)


class Delivery:
    """Prints reports for people; the base of the other ways."""

    def __init__(
        self, console: Console, top_k: int | None, directory: Path | None, formats: Sequence[str]
    ) -> None:
        self._console = console
        self._top_k = top_k
        self._directory = directory
        self._formats = formats

    def begin(self, path: str) -> None:
        """Work on ``path`` starts."""

    def deliver(self, report: Report) -> None:
        """Hand out one result: files first, so that what is printed is also safe."""
        if self._top_k is not None:
            report = dataclasses.replace(report, classes=report.classes[: self._top_k])
        if self._directory is not None:
            from vtnstream.report.writer import write_reports

            for path in write_reports(report, self._directory, self._formats):
                self._console.say(f"wrote {path}")
        self._print(report)

    def fail(self, path: str, message: str) -> None:
        """``path`` failed; the error line has been printed already."""

    def close(self) -> None:
        """No more results will come."""

    def _print(self, report: Report) -> None:
        from vtnstream.report.terminal import print_report

        shown = self._top_k or TERMINAL_TOP_K
        with self._console.writing():
            print_report(report, terminal(), top_k=shown)


class JsonDelivery(Delivery):
    """One document, or an array that is closed whatever happens."""

    def __init__(self, *arguments: Any, single: bool) -> None:
        super().__init__(*arguments)
        self._single = single
        self._num_printed = 0

    def fail(self, path: str, message: str) -> None:
        from vtnstream.report.structured import failure_document

        self._document(failure_document(path, message))

    def close(self) -> None:
        if not self._single:
            self._console.out("]" if self._num_printed else "[]")

    def _print(self, report: Report) -> None:
        from vtnstream.report.structured import report_document

        self._document(report_document(report))

    def _document(self, document: Mapping[str, Any]) -> None:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        if not self._single:
            text = ("," if self._num_printed else "[") + "\n" + text
        self._num_printed += 1
        self._console.out(text)


class JsonLinesDelivery(Delivery):
    """One event a line."""

    def begin(self, path: str) -> None:
        self._events([{"event": "start", "input": path}])

    def fail(self, path: str, message: str) -> None:
        self._events([{"event": "error", "input": path, "error": message}])

    def _print(self, report: Report) -> None:
        from vtnstream.report.structured import report_events

        self._events(report_events(report))

    def _events(self, events: Sequence[Mapping[str, Any]]) -> None:
        for event in events:
            self._console.out(json.dumps(event, ensure_ascii=False, allow_nan=False))


@contextmanager
def make_delivery(
    values: Mapping[str, Any], console: Console, *, single: bool
) -> Iterator[Delivery]:
    """The way results leave a command.

    Args:
        values: ``json``, ``jsonl``, ``output_dir``, ``format``, ``top_k``.
        console: where to.
        single: the command line can only mean one video.

    Raises:
        UsageError: unknown format, or formats without a directory.
    """
    directory, formats = values["output_dir"], values["format"]
    if formats and directory is None:
        raise UsageError("--format names the files of --output-dir: say where with -o DIR")
    chosen = _formats(formats or DEFAULT_FORMATS) if directory is not None else ()
    base = (console, values["top_k"], directory, chosen)
    delivery: Delivery
    if values["json"]:
        delivery = JsonDelivery(*base, single=single)
    elif values["jsonl"]:
        delivery = JsonLinesDelivery(*base)
    else:
        delivery = Delivery(*base)
    try:
        yield delivery
    finally:
        delivery.close()


def _formats(names: Sequence[str]) -> tuple[str, ...]:
    from vtnstream.registry import lookup
    from vtnstream.report.writer import WRITERS

    if "all" in names:
        return tuple(WRITERS)
    for name in names:
        lookup(WRITERS, name, "format")
    return tuple(dict.fromkeys(names))


def terminal() -> Any:
    """A rich console on standard output that answers a closed pipe with an exception."""
    from rich.console import Console as RichConsole

    class Terminal(RichConsole):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return Terminal(file=sys.stdout, highlight=False)
