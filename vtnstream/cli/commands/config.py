"""``vtnstream config``: the settings in force, and the source of each."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from vtnstream.cli.framework.command import Command, Option
from vtnstream.cli.framework.console import Console
from vtnstream.cli.framework.settings import config_files, load_settings
from vtnstream.cli.framework.tables import print_table
from vtnstream.cli.options import running, shared
from vtnstream.errors import UsageError
from vtnstream.registry import suggestion

_EXAMPLES = """
vtnstream config show
vtnstream config show timeline
VTNSTREAM_WINDOW=32 vtnstream config show timeline --json
"""


@click.group()
def config() -> None:
    """Show settings."""


@config.command(cls=Command, examples=_EXAMPLES)
@click.argument("command", required=False)
@click.option("--all", "everything", is_flag=True, help="Show defaults too.")
@shared.as_json
@running.messages
@click.pass_obj
def show(console: Console, /, command: str | None, everything: bool, **values: Any) -> None:
    """Show the settings of COMMAND (or of all commands) that variables and config files make.

    Settings, strongest first: a flag, VTNSTREAM_<COMMAND>_<OPTION>, VTNSTREAM_<OPTION>, the
    project's vtnstream.toml, the user's config.toml.
    """
    rows = [
        row
        for name in _chosen(command)
        for row in _settings(name)
        if everything or row["from"] != "default"
    ]
    if values["json"]:
        console.out(json.dumps(rows, indent=2))
        return
    for path in config_files():
        console.say(f"config file {path}")
    if not rows:
        console.say("nothing is set: all options have their defaults (show them with --all)")
        return
    cells = [[r["command"], r["option"], _shown(r["value"]), r["from"]] for r in rows]
    print_table(console, ["command", "option", "value", "from"], cells, key="option")


def _chosen(name: str | None) -> list[str]:
    """Return the paths of the chosen commands, such as ``cache prune``.

    Raises:
        UsageError: there is no such command.
    """
    from vtnstream.cli.framework.command_tree import commands

    known = commands()
    if name is None:
        return [path for path, command in known.items() if not isinstance(command, click.Group)]
    found = [path for path in known if path == name or path.startswith(f"{name} ")]
    found = [path for path in found if not isinstance(known[path], click.Group)]
    if not found:
        raise UsageError(f"no command {name!r}{suggestion(name, known)}")
    return found


def _settings(path: str) -> list[dict[str, Any]]:
    """Return every settable option of a command with its value and source."""
    from vtnstream.cli.framework.command_tree import commands
    from vtnstream.cli.framework.group import cli

    ctx = click.Context(cli, info_name="vtnstream")
    parts = path.split(" ")
    for depth in range(1, len(parts) + 1):
        command = commands()[" ".join(parts[:depth])]
        ctx = click.Context(command, info_name=parts[depth - 1], parent=ctx)
    load_settings(ctx, ctx.command.params[0], None)
    rows = []
    for option in ctx.command.params:
        if not isinstance(option, Option) or not option.settable or option.is_eager:
            continue
        value, source = option.consume_value(ctx, {})
        if source == ParameterSource.DEFAULT:
            value = option.get_default(ctx)
        rows.append(
            {
                "command": path,
                "option": option.key,
                "value": _plain(value),
                "from": _source(option, ctx, source),
            }
        )
    return rows


def _source(option: Option, ctx: click.Context, source: ParameterSource) -> str:
    if source == ParameterSource.ENVIRONMENT:
        return next(name for name in option.variables(ctx) if os.environ.get(name))
    if source == ParameterSource.DEFAULT_MAP:
        origin: Mapping[str, str] = ctx.meta.get("vtnstream.origins", {})
        return origin.get(option.name or "", "config file")
    return "default"


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if repr(value).startswith("Sentinel") else str(value)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)
