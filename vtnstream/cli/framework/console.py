"""Results on standard output, everything else on standard error."""

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

PREFIX = "vtnstream: "
_LOG_EXAMPLE = b"0000-00-00T00:00:00"
_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
"""How each line of a log begins: what does not begin so (a video) is never appended to."""


def visible(text: str) -> str:
    """``text`` on one line and harmless to a terminal: control characters, line breaks,
    direction marks and undecodable bytes of file names become escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _harmless(c) else c.encode("unicode_escape").decode() for c in text)


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]


def _harmless(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] != "C" and category not in ("Zl", "Zp")


class StandardOutputError(OutputError):
    """Results cannot be printed (full disk): no input's fault, and the end of the command."""


class Console:
    """Where a command speaks.

    Attributes:
        verbosity: -1 with ``-q`` (errors only), 0, or the number of ``-v``.
        debug: tracebacks follow errors.
        progress: ``auto``, ``rich``, ``plain`` or ``none``.
        above: prints a line above a live display while there is one.
        suspend: takes a live display off the screen before a result is printed.
    """

    def __init__(self, *, debug: bool = False) -> None:
        self.verbosity = 0
        self.debug = debug
        self.progress = "auto"
        self.above: Callable[[str], None] | None = None
        self.suspend: Callable[[], None] | None = None
        self._said: set[str] = set()
        self._log: TextIO | None = None
        for stream in (sys.stdout, sys.stderr):
            # A file name that is not UTF-8 must not end a command that went well.
            if getattr(stream, "errors", None) == "strict" and hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    def error(self, message: str) -> None:
        """One line, always shown."""
        self._record("error", message)
        self._line(f"{PREFIX}error: {visible(message)}")

    def log_to(self, path: Path) -> None:
        """Write every message to a file as well, with its time, whatever ``-q`` and ``-v`` say.

        Raises:
            OutputError: the file cannot be opened, or is there and holds something else.
        """
        try:
            with contextlib.suppress(FileNotFoundError), path.open("rb") as there:
                beginning = there.read(len(_LOG_EXAMPLE)).translate(_DIGITS_TO_ZERO)
                if beginning and beginning != _LOG_EXAMPLE:
                    raise ValueError("it exists and is no log of vtnstream; name another file")
            self._log = path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OutputError(f"{path}: cannot be written ({reason})") from error

    def close(self) -> None:
        """Nothing more will be said."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _record(self, kind: str, message: str) -> None:
        if self._log is None:
            return
        import datetime

        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with contextlib.suppress(OSError):  # a full disk under the log is no end of the work
            self._log.write(f"{now} {kind}: {visible(message)}\n")

    def warn(self, message: str) -> None:
        """One line, shown once, unless ``-q``."""
        if message in self._said:
            return
        self._said.add(message)
        self._record("warning", message)
        if self.verbosity >= 0:
            self._line(f"{PREFIX}warning: {visible(message)}")

    def say(self, message: str) -> None:
        """One line about what was done, unless ``-q``."""
        self._record("info", message)
        if self.verbosity >= 0:
            self._line(f"{PREFIX}{visible(message)}")

    def note(self, message: str, *, level: int = 1) -> None:
        """One line for those who asked for it with ``-v``."""
        self._record("note", message)
        if self.verbosity >= level:
            self._line(f"{PREFIX}{visible(message)}")

    def traceback(self, error: BaseException) -> None:
        """The traceback of ``error`` where ``--debug`` was given."""
        if self.debug:
            import traceback

            text = "".join(traceback.format_exception(error))
            for line in text.rstrip("\n").split("\n"):
                self._line(line)

    @contextmanager
    def libraries(self) -> Iterator[None]:
        """While a command runs: what libraries warn of and log is for ``-v``, in one line."""
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
        """Around everything that prints a result: the live display is gone meanwhile, and
        errors come to light here, while they can still be reported.

        Raises:
            BrokenPipeError: the reader has left.
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
        """A result: ``text`` and a line break on standard output, at once."""
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
            # Nobody listens; the work and its exit code go on.
            pass
