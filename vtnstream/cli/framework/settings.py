"""Defaults from config files and environment variables.

    model = "models/surgery"        # for every command that has the option
    [timeline]
    window = 64                     # for one command

The user's ``config.toml`` is in the platform's config directory, the project's
``vtnstream.toml`` in the current directory or at the root of the repository that contains it.
Keys are the names of options; an unknown one is an error. Paths are relative to their file.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from vtnstream.cli.framework.command import EXCLUSIVE, Option
from vtnstream.cli.framework.command_tree import settable_options
from vtnstream.cli.framework.option_table import options_by_command
from vtnstream.errors import ConfigError
from vtnstream.registry import suggestion

_PROJECT_FILE = "vtnstream.toml"
_USER_FILE = "config.toml"
_OWN_VARIABLES = {"VTNSTREAM_CONFIG", "VTNSTREAM_DEBUG", "VTNSTREAM_FLEX_ATTENTION"}


def load_settings(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    """Give ``ctx`` the defaults of the config files; the callback of ``--config``.

    Raises:
        ConfigError: a file cannot be read, or has an unknown key.
    """
    if ctx.resilient_parsing:
        return
    chosen = value or (Path(found) if (found := os.environ.get("VTNSTREAM_CONFIG")) else None)
    merged: dict[str, Any] = {}
    for path in config_files(chosen):
        _check(path, _read_config(path))
        values = _values_for(ctx, path, _read_config(path))
        _override(merged, values)
        ctx.meta.setdefault("vtnstream.origins", {}).update(dict.fromkeys(values, str(path)))
        ctx.meta.setdefault("vtnstream.notes", []).append(f"settings from {path}")
    ctx.default_map = merged
    warnings = [
        f"{name} is not an option of vtnstream; it is ignored" for name in _unknown_variables()
    ]
    ctx.meta.setdefault("vtnstream.warnings", []).extend(warnings)


def config_files(chosen: Path | None = None) -> list[Path]:
    """Return the config files that apply, the weakest first; ``chosen`` replaces the project's."""
    import platformdirs

    files: list[Path] = []
    with contextlib.suppress(RuntimeError):  # a user without a home has no file there
        user = Path(platformdirs.user_config_dir("vtnstream", appauthor=False)) / _USER_FILE
        files += [user] if user.is_file() else []
    project = chosen or _project_file()
    return [*files, project] if project else files


def _project_file() -> Path | None:
    """Find the project's file in the current directory, or at the root of the repository.

    Other parent directories are not searched, because they may belong to another user.
    """
    here = Path.cwd()
    if (here / _PROJECT_FILE).is_file():
        return here / _PROJECT_FILE
    root = next((folder for folder in here.parents if (folder / ".git").exists()), None)
    if root is not None and not (here / ".git").exists() and (root / _PROJECT_FILE).is_file():
        return root / _PROJECT_FILE
    return None


def _read_config(path: Path) -> dict[str, Any]:
    """Read the tables of one file, with ``-`` for ``_`` in keys.

    Raises:
        ConfigError: it cannot be read, or is not TOML.
    """
    try:
        return _dashed(tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits raises ValueError
        raise ConfigError(f"{path}: not a TOML file ({error})") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error


def _dashed(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key.replace("_", "-"): _dashed(value) if isinstance(value, dict) else value
        for key, value in table.items()
    }


def _check(path: Path, data: Mapping[str, Any]) -> None:
    """Check that every key is the name of an option, and every table that of a command."""
    known = options_by_command()
    general = {_key(name) for names in known.values() for name in names}
    tables = {command.partition(" ")[0] for command in known}
    for key, value in data.items():
        if isinstance(value, dict):
            if key not in tables:
                raise ConfigError(f"{path}: no command [{key}]{suggestion(key, tables)}")
            _check_table(path, key, value)
        elif key not in general:
            raise ConfigError(f"{path}: no option {key!r}{suggestion(key, general | tables)}")


def _check_table(path: Path, command: str, table: Mapping[str, Any]) -> None:
    every = options_by_command()
    inner = {name for name in every if name.startswith(f"{command} ")}
    known = {_key(name) for path in (command, *inner) for name in every.get(path, ())}
    for key, value in table.items():
        if isinstance(value, dict) and f"{command} {key}" in inner:
            _check_table(path, f"{command} {key}", value)
        elif key not in known:
            title = command.replace(" ", ".")
            raise ConfigError(f"{path}: no option {key!r} in [{title}]{suggestion(key, known)}")


def _key(option: str) -> str:
    """Return the key of an option in config files."""
    return option.replace("_", "-")


def _values_for(ctx: click.Context, path: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the converted values of a file for this command; narrower tables override wider
    ones."""
    names = [part.info_name or "" for part in (ctx.parent, ctx) if part is not None]
    inside_a_group = bool(ctx.parent and ctx.parent.parent)
    tables = [data]
    if inside_a_group:  # `batch timeline` also reads [timeline]
        tables.append(_table(data, names[-1]))
    innermost = data
    for name in names if inside_a_group else names[-1:]:
        innermost = _table(innermost, name)
        tables.append(innermost)
    values: dict[str, Any] = {}
    for table in tables:
        options = settable_options(ctx.command)
        own = ((options[key], value) for key, value in table.items() if key in options)
        _override(values, {opt.name or "": _value(ctx, path, opt, value) for opt, value in own})
    return values


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name, {})
    return found if isinstance(found, dict) else {}


def _value(ctx: click.Context, path: Path, option: Option, value: Any) -> Any:
    if option.multiple and not isinstance(value, list):
        value = [value]
    if isinstance(value, str) and (option.name == "model" or isinstance(option.type, click.Path)):
        value = _relative_to_file(path, value, must_exist=option.name == "model")
    wrong_kind = isinstance(value, bool) != bool(option.is_flag)
    try:
        if wrong_kind or isinstance(value, dict):
            raise click.BadParameter(f"{value!r} does not fit")
        option.type_cast_value(ctx, value)
    except click.BadParameter as error:
        raise ConfigError(f"{path}: {option.key}: {error.message}") from error
    return value


def _relative_to_file(path: Path, value: str, *, must_exist: bool) -> str:
    """Resolve a path relative to its file; a model may be a name on the Hub instead."""
    joined = path.absolute().parent / Path(value).expanduser()
    return value if must_exist and not joined.exists() else str(joined)


def _override(values: dict[str, Any], stronger: Mapping[str, Any]) -> None:
    """Override ``values`` by ``stronger``, and remove options that ``stronger`` excludes."""
    for group in EXCLUSIVE:
        if any(name in stronger for name in group):
            for name in group:
                values.pop(name, None)
    values.update(stronger)


def _unknown_variables() -> list[str]:
    """Return the ``VTNSTREAM_*`` variables that no command reads; they are most likely misspelt."""
    ours = {name for name in os.environ if name.startswith("VTNSTREAM_")} - _OWN_VARIABLES
    if not ours:
        return []
    known = {
        "_".join(["VTNSTREAM", *prefix, name.upper()])
        for command, names in options_by_command().items()
        for name in names
        for prefix in _prefixes(command.upper().split())
    }
    return sorted(ours - known)


def _prefixes(words: list[str]) -> Iterator[list[str]]:
    """Return the prefixes of a command's variables.

    ``batch timeline`` reads VTNSTREAM_BATCH_TIMELINE_X, VTNSTREAM_TIMELINE_X, VTNSTREAM_X.
    """
    return (words[start:] for start in range(len(words) + 1))
