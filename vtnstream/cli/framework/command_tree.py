"""Collect all commands of the program with their options; this imports every command."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import click

from vtnstream.cli.framework.command import Option


def settable_options(command: click.Command) -> dict[str, Option]:
    """Return the options of a command that files and variables may set, by their key in files."""
    return {p.key: p for p in command.params if isinstance(p, Option) and p.settable}


@cache
def commands() -> dict[str, click.Command]:
    """Return every command by its path (``cache prune``), including groups."""
    from vtnstream.cli.framework.group import cli

    return dict(_walk(cli, click.Context(cli), ()))


def _walk(
    command: click.Command, ctx: click.Context, path: tuple[str, ...]
) -> Iterator[tuple[str, click.Command]]:
    if path:
        yield " ".join(path), command
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            if child is not None:
                yield from _walk(child, ctx, (*path, name))
