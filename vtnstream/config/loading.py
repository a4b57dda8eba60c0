"""Convert plain data (TOML, JSON, ``key=value``) to config dataclasses and back, with checks."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, TypeVar

from vtnstream.config.checks import shown
from vtnstream.errors import ConfigError, UsageError
from vtnstream.registry import suggestion
from vtnstream.timecode import parse_rate

_T = TypeVar("_T")


def from_dict(cls: type[_T], data: Mapping[str, Any], *, where: str = "config") -> _T:
    """Build a (nested) config dataclass.

    Args:
        cls: a dataclass type.
        data: plain data; unknown keys are errors.
        where: source of the data for messages, for instance a file.

    Raises:
        ConfigError: an unknown key, a wrong type, or a value that the dataclass rejects.
    """
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in hints:
            raise ConfigError(f"{where}: unknown key {shown(key)}{suggestion(key, hints)}")
        values[key] = _convert(hints[key], value, where=f"{where}: {key}")
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
    except UsageError as error:
        raise ConfigError(f"{where}: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """Convert a config dataclass to plain JSON data; :func:`from_dict` restores an equal object."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else str(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def _convert(hint: Any, value: Any, *, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        options = typing.get_args(hint)
        if value is None and type(None) in options:
            return None
        return _convert(next(o for o in options if o is not type(None)), value, where=where)
    if dataclasses.is_dataclass(hint):
        if isinstance(value, str) and hasattr(hint, "from_text"):
            return hint.from_text(value)
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a table, got {shown(value)}")
        return from_dict(typing.cast(type[Any], hint), value, where=where)
    if origin is tuple:
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise ConfigError(f"{where}: expected a list, got {shown(value)}")
        item = typing.get_args(hint)[0]
        return tuple(_convert(item, part, where=where) for part in value)
    if hint is Fraction:
        try:
            return parse_rate(value)
        except UsageError as error:
            raise ConfigError(f"{where}: {error}") from error
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = origin or hint
    if plain in (int, float, str, bool) and (
        not isinstance(value, plain) or (plain is int and isinstance(value, bool))
    ):
        raise ConfigError(f"{where}: expected {plain.__name__}, got {shown(value)}")
    return value
