"""Turn an exception into one error line and an exit code."""

from __future__ import annotations

import difflib
import errno

import click

from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.exit_codes import ExitCode
from vtnstream.cli.framework.interrupts import INTERRUPTS
from vtnstream.errors import MissingExtraError, ModelError, UsageError, naming, one_line


def message_of(error: BaseException) -> str:
    """Return the message of ``error`` on one line."""
    if isinstance(error, click.UsageError):
        text = _unknown_option(error) or error.format_message().rstrip(".")
        command = error.ctx.command_path if error.ctx else "vtnstream"
        return f"{text} (see {command} --help)"
    if isinstance(error, click.ClickException):
        return error.format_message()
    return one_line(error)


def _unknown_option(error: click.UsageError) -> str | None:
    """Return the message about an unknown option, with the nearest one if there is one near; None
    for another error. Click also suggests options that have little more than ``--`` in common."""
    if not isinstance(error, click.NoSuchOption):
        return None
    names = {name.lstrip("-"): name for name in error.possibilities or ()}
    near = difflib.get_close_matches(error.option_name.lstrip("-"), names, n=1)
    hint = f"; did you mean {names[near[0]]!r}?" if near else ""
    return f"no such option {error.option_name!r}{hint}"


def message_for(path: str, error: BaseException) -> str:
    """Return the message of ``error`` on one line that names the input ``path`` once."""
    return naming(path, message_of(error))


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code of a command that ended with ``error``."""
    usage = (UsageError, MissingExtraError, ModelError, click.UsageError)
    return ExitCode.USAGE if isinstance(error, usage) else ExitCode.FAILED


def is_closed_pipe(error: BaseException) -> bool:
    """Return whether the reader of standard output has closed it."""
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, OSError) and error.errno == errno.EPIPE
    )


def conclude(error: BaseException, console: Console) -> int:
    """Print the error that ended the command, and return the exit code."""
    if console.suspend is not None:
        console.suspend()
    if INTERRUPTS.caused(error) or isinstance(error, click.Abort):
        console.traceback(error)
        console.say(console.interrupted)
        return INTERRUPTS.exit_code
    if is_closed_pipe(error):
        return ExitCode.CLOSED_PIPE
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    console.traceback(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    else:
        console.error(message_of(error))
    return exit_code_of(error)
