"""Print results on standard output and messages on standard error."""

from __future__ import annotations

import contextlib
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vtnstream.cli.framework.interrupts import INTERRUPTS
from vtnstream.errors import OutputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

_PREFIX = "vtnstream: "
_LOG_EXAMPLE = b"0000-00-00T00:00:00"
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
"""The beginning of each line of a log; a file that begins otherwise (a video) is not appended
to."""


def visible(text: str) -> str:
    """Return ``text`` on one line, safe for a terminal.

    Control characters, line breaks, direction marks and undecodable bytes of file names are
    escaped.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _is_safe(c) else c.encode("unicode_escape").decode() for c in text)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _is_safe(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] != "C" and category not in ("Zl", "Zp")


class StandardOutputError(OutputError):
    """Standard output cannot be written (full disk). It ends the command, whatever the input."""


class Console:
    """Prints the results and messages of a command.

    Attributes:
        verbosity: -1 with ``-q`` (errors only), 0, or the number of ``-v``.
        debug: whether tracebacks are printed with errors.
        progress: ``auto``, ``rich``, ``plain`` or ``none``.
        above: prints a line above the live display, or None without one.
        suspend: removes the live display before a result is printed, or None without one.
        interrupted: printed when the command is interrupted: what is kept of its work.
    """

    def __init__(self, *, debug: bool = False) -> None:
        self.verbosity = 0
        self.debug = debug
        self.progress = "auto"
        self.above: Callable[[str], None] | None = None
        self.suspend: Callable[[], None] | None = None
        self.interrupted = "interrupted"
        self._said: set[str] = set()
        self._log: TextIO | None = None
        for stream in (sys.stdout, sys.stderr):
            # A file name that is not UTF-8 must not make a successful command fail.
            if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    def error(self, message: str) -> None:
        """Print one line, whatever the verbosity."""
        self._record("error", message)
        self._line(f"{_PREFIX}error: {visible(message)}")

    def log_to(self, path: Path) -> None:
        """Also write every message with its time to a file, regardless of ``-q`` and ``-v``.

        Raises:
            OutputError: the file cannot be opened, or exists and is not a log.
        """
        try:
            with contextlib.suppress(FileNotFoundError), path.open("rb") as there:
                beginning = there.read(len(_LOG_EXAMPLE)).translate(_DIGITS_TO_ZERO)
                if beginning and beginning != _LOG_EXAMPLE:
                    raise ValueError(
                        "it exists and was not written by vtnstream; name another file"
                    )
            self._log = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{path}: cannot be written ({reason})") from error

    def close(self) -> None:
        """Close the log file."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _record(self, kind: str, message: str) -> None:
        if self._log is None:
            return
        import datetime

        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with contextlib.suppress(OSError):  # a full disk must not end the work
            self._log.write(f"{now} {kind}: {visible(message)}\n")

    def warn(self, message: str) -> None:
        """Print a warning on one line, once, unless ``-q``."""
        if message in self._said:
            return
        self._said.add(message)
        self._record("warning", message)
        if self.verbosity >= 0:
            self._line(f"{_PREFIX}warning: {visible(message)}")

    def say(self, message: str) -> None:
        """Print one line about finished work, unless ``-q``."""
        self._record("info", message)
        if self.verbosity >= 0:
            self._line(f"{_PREFIX}{visible(message)}")

    def note(self, message: str, *, level: int = 1) -> None:
        """Print one line with ``-v``."""
        self._record("note", message)
        if self.verbosity >= level:
            self._line(f"{_PREFIX}{visible(message)}")

    def traceback(self, error: BaseException) -> None:
        """Print the traceback of ``error`` with ``--debug``."""
        if self.debug:
            import traceback

            text = "".join(traceback.format_exception(error))
            for line in text.rstrip("\n").split("\n"):
                self._line(line)

    @contextmanager
    def libraries(self) -> Iterator[None]:
        """Print warnings and log records of libraries as one-line notes while a command runs."""
        import logging
        import warnings

        def show(message: Warning | str, category: type[Warning], *_: object) -> None:
            self.note(f"{category.__name__}: {_first_line(str(message))}")

        handler = logging.Handler(logging.WARNING)
        handler.emit = lambda record: self.note(_first_line(record.getMessage()))  # type: ignore[method-assign]
        root = logging.getLogger()
        root.addHandler(handler)
        try:
            with warnings.catch_warnings():
                warnings.showwarning = show  # type: ignore[assignment]
                yield
        finally:
            root.removeHandler(handler)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Enclose code that prints a result: the live display is removed first, and write errors
        are raised here, while they can still be reported.

        Raises:
            BrokenPipeError: the reader of standard output has closed it.
            StandardOutputError: standard output cannot be written.
        """
        INTERRUPTS.check()
        if self.suspend is not None:
            self.suspend()
        try:
            yield
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StandardOutputError(f"standard output: {error.strerror}") from error

    def out(self, text: str) -> None:
        """Print a result: write ``text`` and a line break to standard output and flush."""
        with self.writing():
            sys.stdout.write(f"{text}\n")

    def _line(self, line: str) -> None:
        if self.above is not None:
            self.above(line)
            return
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except OSError:
            pass  # standard error is closed; this does not affect the work and its exit code
