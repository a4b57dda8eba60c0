"""Combine a TOML file, a preset, flags and ``key=value`` pairs to a :class:`TrainConfig`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from vtnstream.config import TrainConfig
from vtnstream.config.loading import from_dict, to_dict
from vtnstream.config.temporal import table_of
from vtnstream.errors import ConfigError
from vtnstream.models.presets import preset

_PRESET_TABLES = ("sampling", "preprocess", "backbone", "feature_norm", "temporal", "head")


def train_config(
    path: str | Path | None = None, overrides: Mapping[str, Any] | None = None
) -> TrainConfig:
    """Return the configuration: defaults, changed by the preset, the file and the overrides in
    turn.

    File or overrides may name the preset. A table of the file changes only the keys it contains.
    Paths in the file (``annotations``, ``class_annotations``, ``output``, ``start``,
    ``data.videos`` and ``weights``) are relative to its folder.

    Args:
        path: TOML file with keys of :class:`TrainConfig`; ``preset`` may name a model.
        overrides: dotted keys, such as ``{"optim.epochs": 10}``; None values are left out.

    Raises:
        ConfigError: the file is unreadable, a key is unknown, or a value is invalid.
        UsageError: the preset does not exist.
    """
    written = _read(Path(path)) if path is not None else {}
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    name = given.pop("preset", written.pop("preset", None))
    data = to_dict(TrainConfig())
    if name is not None:
        model = to_dict(preset(str(name)))
        _merge(data, {key: model[key] for key in _PRESET_TABLES})
        data["vivit"] = model["vivit"]
    _merge(data, written)
    for key, value in given.items():
        _merge(data, _nested(key, value))
    return from_dict(TrainConfig, data, where=str(path) if path is not None else "train")


def parse_assignments(pairs: Iterable[str]) -> dict[str, Any]:
    """Parse ``key=value`` pairs; values are in TOML syntax, anything else is text.

    Raises:
        ConfigError: a pair has no ``=``, or no key before it.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{pair!r} is not key=value")
        try:
            values[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            values[key.strip()] = text
    return values


def _read(path: Path) -> dict[str, Any]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:  # numbers of 5,000 digits raise ValueError
        raise ConfigError(f"{path}: not readable as TOML ({error})") from error
    for key in ("annotations", "class_annotations", "output", "start"):
        if isinstance(data.get(key), str) and data[key]:
            data[key] = str(path.parent / data[key])
    table = data.get("data")
    if isinstance(table, dict) and isinstance(table.get("videos"), str):
        table["videos"] = str(path.parent / table["videos"])
    weights = data.get("weights")
    if isinstance(weights, str) and (path.parent / weights).exists():
        data["weights"] = str(path.parent / weights)
    return data


def _nested(key: str, value: Any) -> dict[str, Any]:
    head, dot, rest = key.partition(".")
    return {head: _nested(rest, value) if dot else value}


def _merge(data: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if key == "temporal" and isinstance(value, str):
            value = table_of(value)
        if isinstance(value, Mapping) and isinstance(data.get(key), dict):
            _merge(data[key], value)
        else:
            data[key] = value
