"""The entry point: install signal handlers, run the command, flush its output.

Nothing is imported before :func:`run` handles interrupts, not even ``typing``, so that Ctrl-C
during imports prints no traceback.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn, TextIO

_INTERRUPTED = 130


def run() -> NoReturn:
    """Run the console script ``vtnstream``."""
    code = _INTERRUPTED
    ending = _Ending()
    atexit.register(ending)  # as the first of all, so that it is called as the last
    try:
        from vtnstream.cli.framework.interrupts import INTERRUPTS

        INTERRUPTS.install()
        try:
            from vtnstream.cli.framework.process_settings import postpone_compiler, spin_less

            spin_less()
            postpone_compiler()
            _open_closed_streams()
            code = main(sys.argv[1:])
        except KeyboardInterrupt:  # arrived between the handlers of main
            code = INTERRUPTS.exit_code
    except KeyboardInterrupt:  # arrived before the handlers were installed
        pass
    ending.code = code
    sys.exit(code)


class _Ending:
    """End the process after all other exit handlers if torch was loaded.

    The destructors of its libraries, which CUDA builds have many of, take half a second and read
    another 125 MB from disk, which the process does not need any more.
    """

    def __init__(self) -> None:
        self.code: int | None = None

    def __call__(self) -> None:
        if self.code is None or "torch" not in sys.modules:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(self.code)


def main(arguments: Sequence[str]) -> int:
    """Run one command line and flush its output.

    Args:
        arguments: the words after ``vtnstream`` on the command line.

    Returns:
        the exit code.
    """
    from vtnstream.cli.framework.interrupts import INTERRUPTS

    code: int
    try:
        from vtnstream.cli.framework.console import Console
        from vtnstream.cli.framework.failures import conclude
        from vtnstream.cli.framework.group import call

        console = Console(debug="--debug" in arguments or bool(os.environ.get("VTNSTREAM_DEBUG")))
        try:
            code = call(arguments, console)
        except BaseException as error:
            code = conclude(error, console)
        finally:
            console.close()
    except BaseException as error:
        if not INTERRUPTS.caused(error):
            raise
        code = INTERRUPTS.exit_code
    return _flush(code)


def _flush(code: int) -> int:
    """Flush standard output. If that fails, discard the buffer: the interpreter would otherwise
    print an error at its exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        from vtnstream.cli.framework.exit_codes import ExitCode

        code = code or (
            ExitCode.CLOSED_PIPE if isinstance(error, BrokenPipeError) else ExitCode.FAILED
        )
        _drop(sys.stdout)
    return code


def _open_closed_streams() -> None:
    """Open the null device in place of a closed standard stream (``>&-``): otherwise the next
    opened file would become standard output and receive what libraries print."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


def _drop(stream: TextIO) -> None:
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return
    target = os.open(os.devnull, os.O_WRONLY)
    os.dup2(target, number)
    os.close(target)
