"""The options of every command, known without importing the commands.

Checking a config file or an environment variable needs the names of all options of all commands.
Importing every command for that would double the start-up time, so the names are kept in
``option_table.txt``; a test compares the file with the commands. After adding, renaming or
removing an option, write the file again:

    python -m vtnstream.cli.framework.option_table
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

TABLE_FILE = Path(__file__).with_name("option_table.txt")
_HEADER = (
    "# option: the commands that have it."
    " Written by `python -m vtnstream.cli.framework.option_table`.\n"
)


@cache
def options_by_command() -> Mapping[str, frozenset[str]]:
    """Return the settable options of each command, read from the table.

    Returns:
        path of the command (``batch timeline``) -> its option names (``min_duration``). Commands
        without options and groups are not listed.
    """
    found: dict[str, set[str]] = {}
    for line in TABLE_FILE.read_text("utf-8").splitlines():
        option, _, commands = line.partition(": ")
        if not option.startswith("#"):
            for command in commands.split(", "):
                found.setdefault(command, set()).add(option)
    return {command: frozenset(options) for command, options in found.items()}


def options_of_commands() -> dict[str, frozenset[str]]:
    """Return the settable options of each command, taken from the commands themselves."""
    from vtnstream.cli.framework.command_tree import commands, settable_options

    names = {
        path: frozenset(option.name or "" for option in settable_options(command).values())
        for path, command in commands().items()
    }
    return {path: options for path, options in names.items() if options}


def rendered(options: Mapping[str, frozenset[str]]) -> str:
    """Return the text of the table: one line per option, sorted, so that changes are easy to
    merge."""
    by_option: dict[str, list[str]] = {}
    for command, names in sorted(options.items()):
        for name in names:
            by_option.setdefault(name, []).append(command)
    lines = [f"{name}: {', '.join(commands)}\n" for name, commands in sorted(by_option.items())]
    return _HEADER + "".join(lines)


if __name__ == "__main__":
    TABLE_FILE.write_text(rendered(options_of_commands()), "utf-8")
