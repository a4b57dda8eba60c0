"""The entry point: signals, streams, and the last line of a command that cannot go on.

Nothing is imported before :func:`run` catches interrupts, not even ``typing``, so that Ctrl-C
during imports ends as quietly as at any other moment.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn, TextIO

INTERRUPTED = 130


def run() -> NoReturn:
    """The console script ``vtnstream``."""
    code = INTERRUPTED
    try:
        from vtnstream.cli.framework.interrupts import INTERRUPTS

        INTERRUPTS.install()
        try:
            from vtnstream.cli.framework.process_settings import spin_less

            spin_less()
            _open_closed_streams()
            code = main(sys.argv[1:])
        except KeyboardInterrupt:  # between the statements of main's own handling
            code = INTERRUPTS.exit_code
    except KeyboardInterrupt:  # before the handlers stood
        pass
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """One command line in, its exit code out; everything it prints has been flushed.

    Args:
        arguments: what stands after ``vtnstream`` on the command line.
    """
    from vtnstream.cli.framework.interrupts import INTERRUPTS

    code: int
    try:
        from vtnstream.cli.framework.console import Console
        from vtnstream.cli.framework.failures import conclude
        from vtnstream.cli.framework.group import cli, unwrap

        console = Console(debug="--debug" in arguments or bool(os.environ.get("VTNSTREAM_DEBUG")))
        try:
            code = int(
                cli.main(
                    args=list(arguments), prog_name="vtnstream", standalone_mode=False, obj=console
                )
                or 0
            )
        except BaseException as error:
            code = conclude(unwrap(error), console)
        finally:
            console.close()
    except BaseException as error:
        if not INTERRUPTS.caused(error):
            raise
        code = INTERRUPTS.exit_code
    return _flush(code)


def _flush(code: int) -> int:
    """Bring out what is still in the buffer; what cannot go anywhere is dropped, or the
    interpreter would complain at its exit."""
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
    """Put the null device where a standard stream was closed (``>&-``): otherwise the next
    file that is opened becomes standard output and collects what libraries print."""
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
